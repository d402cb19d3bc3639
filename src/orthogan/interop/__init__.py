"""Checkpoints of other projects: told apart by their keys and shapes, and written as files of this one.

`archives` reads tensors from files without running their code, each of `biggan_pytorch`, `huggingface`, `studiogan`,
`mimicry`, `projected_gan` and `stylegan2` knows the names of one project, `projects` is their table, and `writing` puts
together what they found. `statistics` are the standing statistics that such files bring along.
"""

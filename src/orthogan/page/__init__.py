"""A run, several side by side, or a study as one HTML page that needs nothing else.

`read` collects what a run has written down, whatever of it there is; `short` says in plain words what it means;
`charts` and `embed` turn it into curves and pictures; `render` fills the templates.
"""

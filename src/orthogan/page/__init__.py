"""A run, several side by side, or a study as one HTML page that needs nothing else.

`read` collects what a run has written down, whatever of it there is; `verdict`, `short` and `following` say in plain
words whether it is good, what else that means, and what to do next; `alike` tells which scores may stand side by side;
`charts` and `embed` turn the rest into curves and pictures; `render` and `several` fill the templates.
"""

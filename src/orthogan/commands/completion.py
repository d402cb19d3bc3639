"""`orthogan completion bash|zsh`: a script that completes commands, presets and options, and otherwise paths.

Written here rather than by tyro: its script offers no paths for positional words, such as the run of `orthogan sample`.
"""

import itertools
from pathlib import Path

from orthogan import presets
from orthogan.cli import COMMANDS
from orthogan.commands import (
    branch,
    compare,
    data,
    evaluate,
    export,
    import_,
    interpolate,
    memorization,
    report,
    resume,
    sample,
    sheet,
    spectra,
    train,
    truncation,
)
from orthogan.commands.options import CHOSEN, SHORT
from orthogan.commands.parsing import option_names
from orthogan.errors import UserError, unknown
from orthogan.networks import DISCRIMINATORS, GENERATORS
from orthogan.pair import with_networks
from orthogan.studies import STUDIES

USAGE = """usage: orthogan completion bash|zsh

Prints a script that completes the words of orthogan. For this session, or in your ~/.bashrc or ~/.zshrc:
  source <(orthogan completion bash)"""

SHELLS = {"bash": "", "zsh": "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n"}
"""What must come first: zsh has bash's way of completion as an option."""

SCRIPT = """_orthogan() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} names options
    case $COMP_CWORD:${{COMP_WORDS[1]}} in
        1:*) names="{commands}" options="--help --version" ;;
{cases}
    esac
    if [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$current"))
    else
        COMPREPLY=($(compgen -W "$names" -- "$current"))
    fi
}}
complete -o default -F _orthogan orthogan"""


def main(argv: list[str]) -> int:
    if argv[:1] in ([], ["-h"], ["--help"]):
        print(USAGE)
        return 0
    shell, *rest = argv
    if shell not in SHELLS:
        raise unknown("shell", shell, SHELLS)
    if rest:
        raise UserError(f"`orthogan completion {shell}` takes no more words, not {rest[0]!r}")
    print(SHELLS[shell] + script())
    return 0


def script() -> str:
    cases = []
    for name, options in options_of_commands().items():
        every = " ".join(sorted(options | {"--help"}))
        for position, words in words_of(name).items():
            cases.append(f'        {position}:{name}) names="{" ".join(words)}" options="{every}" ;;')
        cases.append(f'        *:{name}) options="{every}" ;;')
    return SCRIPT.format(commands=" ".join(COMMANDS), cases="\n".join(cases))


def words_of(command: str) -> dict[int, list[str]]:
    """The words that are not paths, by their place on the command line."""
    known = list(presets.PRESETS)
    return {
        "train": {2: known},
        "sheet": {2: ["classes", "truncation"]},
        "study": {2: list(STUDIES)},
        "data": {2: ["inspect", "check", "clear"]},
        "presets": {2: ["show", "diff"], 3: known, 4: known},
        "completion": {2: list(SHELLS)},
    }.get(command, {})


def options_of_commands() -> dict[str, set[str]]:
    pairs = itertools.zip_longest(GENERATORS, DISCRIMINATORS, fillvalue="biggan")  # every network once is enough
    configs = [with_networks(presets.get("digits"), {"generator": g, "discriminator": d}) for g, d in pairs]
    short = {f"--{name}" for name in SHORT}
    training = short.union(*(option_names(train.Options, default=train.Options(run=config)) for config in configs))
    branching = short.union(
        *(option_names(branch.Options, default=branch.Options(run=config, out=Path())) for config in configs)
    )
    return {
        "train": training.union(CHOSEN),
        "resume": short | option_names(resume.Options),
        "branch": branching.union(CHOSEN),
        "sample": option_names(sample.Options),
        "sheet": option_names(sheet.Options),
        "interpolate": option_names(interpolate.Options),
        "evaluate": option_names(evaluate.Options),
        "compare": option_names(compare.Options),
        "truncation": option_names(truncation.Options),
        "memorization": option_names(memorization.Options),
        "spectra": option_names(spectra.Options),
        "report": option_names(report.Options),
        "study": {"--data"}.union(*(option_names(study.options) for study in STUDIES.values())),
        "import": option_names(import_.Options),
        "export": option_names(export.Options),
        "data": option_names(data.inspect) | option_names(data.clear),
        "presets": set(),
        "doctor": set(),
        "completion": set(),
    }

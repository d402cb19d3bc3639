"""What a run tells while it goes on. Free of PyTorch, so that what only shows things need not load it."""


class Observer:
    """What a run tells while it goes on. The command line overrides it; nothing here prints."""

    def stepped(self, images: int, stats: dict[str, float]) -> None:
        """After every step: images shown so far, the losses of the step."""

    def told(self, text: str) -> None:
        """Something worth a line: a checkpoint, a sheet, a score, a warning."""

    def alarmed(self, text: str) -> None:
        """The watch has seen signs of a collapse."""

    def stopping(self) -> None:
        """Told to stop by a signal: the step that goes on will be the last. Called from the signal's handler."""

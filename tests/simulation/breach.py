"""What is raised where a world breaks a law."""


class LawBroken(AssertionError):
    """A law, and how it was broken."""

    def __init__(self, law: str, how: str) -> None:
        super().__init__(f"{law}: {how}")
        self.law = law

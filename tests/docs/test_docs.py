"""What README and documents name is there: files, commands with their options, recipes; README's code runs."""

import asyncio
import re
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from natsume.actors.registry import Registry
from natsume.cli.main import COMMANDS, Commands
from natsume.compose.worker import working

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PLANS = ROOT / "docs" / "explanation" / "what-is-not-there-yet.md"
PAGES = [page for page in (README, *sorted((ROOT / "docs").rglob("*.md"))) if page != PLANS]
CODE = re.compile(r"```(?:sh|shell|bash|console)\n(.*?)```|(?<!`)`([^`\n]+)`(?!`)", re.DOTALL)
PATH = re.compile(r"^\.?(?:src|nats|docs|tests|examples|bench|requirements|ci)/[\w./*-]*$|^[\w-]+\.(?:md|toml)$")
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def spoken(page: Path) -> list[str]:
    """Each line of shell and each piece of inline code."""
    pieces = [block or inline for block, inline in CODE.findall(page.read_text())]
    return [line.strip() for piece in pieces for line in piece.replace("\\\n", " ").splitlines()]


@by_page
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


@by_page
def test_paths_exist(page):
    # A page may also speak of files of a project of the reader's own, which are in no folder of ours.
    named = [piece for piece in spoken(page) if PATH.match(piece) and "/" in piece]
    assert [path for path in named if not any(ROOT.glob(path.rstrip("/")))] == []


@by_page
def test_commands_exist(page):
    unknown = []
    for line in spoken(page):
        for call in re.findall(r"(?:^|&& |\| |\$ |bin/)natsume ((?:[\w-]+ ?)+)([^|&#>]*)", line):
            unknown += complaints(call[0].split(), re.findall(r"(?<!\S)--[\w-]+", call[0] + call[1]))
    assert unknown == []


@by_page
def test_recipes_exist(page):
    recipes = subprocess.run(["just", "--summary"], cwd=ROOT, env=path(), capture_output=True, text=True, check=True)
    named = [name for line in spoken(page) for name in re.findall(r"(?:^|bin/|&& )just ([\w-]+)", line)]
    assert set(named) - set(recipes.stdout.split()) == set()


def path() -> dict[str, str]:
    return {"PATH": str(Path(sys.executable).parent)}


@cache
def tree() -> Commands:
    return Commands(name="natsume")


def complaints(words: list[str], options: list[str]) -> list[str]:
    """What a command line names that is no command or no option."""
    command = tree()
    context = typer.Context(command, info_name="natsume")
    for word in words:
        if not isinstance(command, TyperGroup):
            break
        found = command.get_command(context, word)
        if found is None:
            return [f"natsume has no command {' '.join(words)}"]
        command = found
    known = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}
    return [f"natsume {' '.join(words)} has no {option}" for option in options if option not in {*known, "--help"}]


def test_every_command_is_in_some_page():
    text = "".join(page.read_text() for page in PAGES)
    assert [name for name in COMMANDS if f"natsume {name}" not in text] == []


@pytest.fixture
def installed_readme(tmp_path, monkeypatch):
    """The files of README's code in a distribution of their own."""
    files = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", README.read_text(), re.DOTALL)
    assert [name for name, _ in files] == ["invoices/tasks.py", "invoices/service.py"]
    for name, code in files:
        compile(code, name, "exec")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    point = re.search(r"\(`(\w+) = \"(\S+)\"` in the group `(\S+)`\)", README.read_text())
    facts = tmp_path / "invoices-0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: invoices\nVersion: 0\n")
    (facts / "entry_points.txt").write_text(f"[{point[3]}]\n{point[1]} = {point[2]}\n")
    monkeypatch.syspath_prepend(str(tmp_path))


async def test_the_readmes_actor_runs(installed_readme, natsume_broker, natsume_settings, monkeypatch):
    monkeypatch.setenv("NATSUME_NATS_URL", natsume_settings.nats_url)
    bill = import_module("invoices.service").bill
    async with working(natsume_settings, Registry.load()):
        first, second = await asyncio.gather(bill("ada", 1250), bill("ada", 99))
    assert re.fullmatch(r"invoice \w{32} over 12.50 sent to ada", first)
    assert re.fullmatch(r"invoice \w{32} over 0.99 sent to ada", second)

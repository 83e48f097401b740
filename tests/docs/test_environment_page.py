"""The page of the environment names every variable that the code reads, with its default."""

import re
from pathlib import Path

import msgspec
import pytest

from natsume import settings
from natsume.databases import BaseSQLDB

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "environment.md").read_text()
TABLE = dict(re.findall(r"^\| `(NATSUME_\S+)` \| (.*?) \|", PAGE, re.MULTILINE))
FIELDS = {field.name: field.default for field in msgspec.structs.fields(settings.Settings)}


def test_the_variables_are_those_of_the_code():
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "nats").rglob("*.conf")]
    used = {name for file in files for name in re.findall(r"\bNATSUME_[A-Z_]*[A-Z]\b", file.read_text())}
    assert {name for name in TABLE if "<" not in name} == used


@pytest.mark.parametrize(("field", "variable"), [(field, name) for field, (name, _) in settings._VARIABLES.items()])
def test_the_defaults_are_those_of_the_code(field, variable):
    default = FIELDS[field]
    text = TABLE[variable].strip("`")
    if default is None:
        assert text == "none"
    elif field == "data_dir":
        assert Path(text).expanduser() == default
    else:
        assert settings._convert(variable, text, settings._VARIABLES[field][1]) == default


def test_the_variable_of_a_database():
    class JobsDB(BaseSQLDB):
        pass

    class Other(BaseSQLDB):
        name = "pilot-jobs"

    assert [cls.url_variable() for cls in (JobsDB, Other)] == ["NATSUME_DB_URL_JOBS_DB", "NATSUME_DB_URL_PILOT_JOBS"]

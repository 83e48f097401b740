# Run as .venv/bin/just; ./setup makes .venv.

export PATH := justfile_directory() / ".venv/bin:" + env("PATH")

# List the recipes
default:
    @just --list --unsorted

# Real tasks on a real broker, a worker killed in the middle, every outcome accounted for
demo:
    @python -m natsume_examples.demo

# All tests, or those that pytest's arguments name
test *ARGS:
    pytest {{ if ARGS == "" { "-n 3 --dist loadfile" } else { ARGS } }}
    {{ if ARGS == "" { "cd examples && pytest" } else { "" } }}

# The tests of the documentation: paths, commands and code that it names
docs-test:
    pytest tests/docs

# Linter and format
lint:
    ruff check .
    ruff format --check .

# Types, strictly
types:
    mypy
    MYPYPATH=examples/src mypy -p natsume_examples

# Who may import whom
layers:
    lint-imports

# Everything that has to pass
check: lint types layers test

# Play seeded worlds with crashes between any two effects
sim SEEDS="1000":
    python -m tests.simulation run {{ SEEDS }}

# Play one seed again and print each step
sim-replay SEED:
    python -m tests.simulation replay {{ SEED }}

# Measure; each speed is a ratio to a ceiling of the same run
bench *ARGS:
    python -m bench {{ ARGS }}

# Pin the newest packages that fit; needs uv
lock:
    uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
        --all-extras --group dev pyproject.toml -o requirements/dev.lock

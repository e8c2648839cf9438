"""The commands and their options; what they do lies in the modules beside this one."""

import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated

import typer

import firsthand
from firsthand.cli.failures import CommandFailed, ExitCode, Interrupted


def _group(about: str) -> typer.Typer:
    # Plain messages and no boxes: the same words on a terminal, in a log and in a pipe.
    return typer.Typer(
        help=about,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        add_completion=False,
    )


app = _group("Answers questions about software from its source code, with checked citations.")
resources = _group("The resources of the running hub.")
instance = _group("Your instance on the running hub.")
app.add_typer(resources, name="resources")
app.add_typer(instance, name="instance")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Where data is kept (FIRSTHAND_DATA_DIR).")
]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"firsthand {firsthand.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    del version


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Start the hub."""
    from firsthand.cli import serving

    serving.serve(host, port, data_dir)


@app.command()
def ask(  # noqa: PLR0917 - each parameter is an option, and typer names them
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    resource: Annotated[
        list[str] | None,
        typer.Option(
            "--resource",
            "-r",
            help="What to read: a name in the hub, an HTTPS git URL, a path to a local git "
            "repository, pypi:NAME[@VERSION] or npm:NAME[@VERSION]; @REF after a git source.",
        ),
    ] = None,
    as_json: AsJson = False,
    local: Annotated[bool, typer.Option("--local", help="Answer here, without a hub.")] = False,
    model: Annotated[
        str | None, typer.Option(help="PROVIDER/MODEL, or extractive; answers without a hub.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Ask a question and get an answer with checked citations."""
    from firsthand.cli.ask import Asked
    from firsthand.cli.ask import ask as answer

    answer(Asked(question, resource or [], as_json, local, model, data_dir))


@app.command()
def doctor(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Say what is there, what is missing, and how to mend it."""
    from firsthand.cli.doctor import examine

    examine(as_json=as_json, data_dir=data_dir)


@resources.command("list")
def resources_list(as_json: AsJson = False) -> None:
    """List what the hub can read."""
    from firsthand.cli import hub_commands

    found = hub_commands.call_hub("GET", "/api/v1/resources")
    if as_json:
        hub_commands.print_json(found)
    else:
        hub_commands.print_resources(found["resources"])


@resources.command("add")
def resources_add(
    source: Annotated[
        str, typer.Argument(help="An HTTPS git URL, pypi:NAME or npm:NAME; @REF picks a version.")
    ],
    name: Annotated[
        str | None, typer.Option(help="How it is called; else from the source.")
    ] = None,
    search_path: Annotated[
        list[str] | None, typer.Option(help="Look below this folder only; may be repeated.")
    ] = None,
    notes: Annotated[str, typer.Option(help="What the agent should know about it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Add a source; it is fetched in the background."""
    from firsthand.cli import hub_commands

    body = {"source": source, "name": name, "searchPaths": search_path or [], "notes": notes}
    found = hub_commands.call_hub("POST", "/api/v1/resources", body)
    if as_json:
        hub_commands.print_json(found)
    else:
        hub_commands.print_resources([found])


@resources.command("remove")
def resources_remove(name: Annotated[str, typer.Argument(help="Its name.")]) -> None:
    """Remove a resource."""
    from firsthand.cli import hub_commands

    hub_commands.call_hub("DELETE", f"/api/v1/resources/{hub_commands.quoted(name)}")
    print(f"Removed {name}.")


@resources.command("sync")
def resources_sync(
    name: Annotated[str, typer.Argument(help="Its name.")], as_json: AsJson = False
) -> None:
    """Fetch a resource again."""
    from firsthand.cli import hub_commands

    found = hub_commands.call_hub("POST", f"/api/v1/resources/{hub_commands.quoted(name)}/sync")
    if as_json:
        hub_commands.print_json(found)
    else:
        hub_commands.print_resources([found])


def _instance(method: str, operation: str, *, as_json: bool) -> None:
    from firsthand.cli import hub_commands

    found = hub_commands.call_hub(method, f"/instance/{operation}")
    if as_json:
        hub_commands.print_json(found)
    else:
        hub_commands.print_instance(found)


@instance.command("status")
def instance_status(as_json: AsJson = False) -> None:
    """Show the state of your instance."""
    _instance("GET", "status", as_json=as_json)


@instance.command("wake")
def instance_wake(as_json: AsJson = False) -> None:
    """Start your instance."""
    _instance("POST", "wake", as_json=as_json)


@instance.command("stop")
def instance_stop(as_json: AsJson = False) -> None:
    """Stop your instance; nothing stored is lost."""
    _instance("POST", "stop", as_json=as_json)


def main() -> None:
    """Run the command line and exit."""
    sys.exit(_run())


def _run() -> int:
    try:
        app()
    except CommandFailed as failure:
        _report(failure)
        return failure.code
    except Interrupted:
        print("\nStopped.", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left, `head` for instance; the interpreter must not
        # complain about it again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except Exception:  # noqa: BLE001 - the outermost door: a person gets a line, the file the rest
        _report(_defect())
        return ExitCode.FAILED
    return ExitCode.DONE


def _report(failure: CommandFailed) -> None:
    from firsthand.cli.terminal import plain

    print(plain(f"firsthand: {failure.message}"), file=sys.stderr)
    if failure.hint:
        print(plain(f"hint: {failure.hint}"), file=sys.stderr)
    if "--json" in sys.argv and not failure.reported:
        import msgspec

        error = {"message": failure.message, "hint": failure.hint}
        sys.stdout.buffer.write(msgspec.json.encode({"error": error}) + b"\n")
        sys.stdout.flush()


def _defect() -> CommandFailed:
    with tempfile.NamedTemporaryFile(
        "w", prefix="firsthand-error-", suffix=".log", delete=False
    ) as log:
        traceback.print_exc(file=log)
    return CommandFailed(
        "Something went wrong that should not have.", f"Please report it with {log.name}"
    )


if __name__ == "__main__":
    main()

"""`success`: the group of all commands, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import traceback
from typing import NoReturn

import click

from cli.errors import explain

KINDS = {
    # folder of `cli/`: its heading in `success --help`
    "services": "Services",
    "analysis": "Analysis",
    "admin": "Administration",
    "dev": "Development",
}
COMMANDS = {
    # command: (module, what it does); modules are imported when their command is called
    "worker": ("cli.services.worker", "run the scoring agents and the intervention agent"),
    "deliver": ("cli.services.deliver", "deliver the interventions that are due"),
    "api": ("cli.services.api", "serve the HTTP API, the coach and the dashboard"),
    "shadow": ("cli.services.shadow", "write down what another policy would do; sends nothing"),
    "replay": ("cli.analysis.replay", "run the log again: explain, look back, try another policy"),
    "export": ("cli.analysis.export", "archive the topics as Parquet"),
    "report": ("cli.analysis.report", "say what came of the messages, and whether they work"),
    "fit-churn": ("cli.analysis.fit_churn", "fit the churn model on an activity log, and measure it"),
    "topics": ("cli.admin.topics", "go on after topics were made anew, or grow them"),
    "migrate": ("cli.admin.migrate", "create topics and tables; safe to run again"),
    "config": ("cli.admin.config", "check a folder of rules, policy, words; show what is in force"),
    "doctor": ("cli.admin.doctor.doctor", "check Kafka, Postgres, SMTP and the settings"),
    "publish": ("cli.admin.publish", "publish a file to the topics; - reads standard input"),
    "validate": ("cli.admin.validate", "say of each line of a file whether the worker would take it"),
    "dead-letters": ("cli.admin.dead_letters", "look at refused records, and publish them again"),
    "interventions": ("cli.admin.interventions", "look at messages, and try unknown or failed ones again"),
    "suppressions": ("cli.admin.suppressions", "list, add or remove addresses that get no email"),
    "webhook": ("cli.admin.webhook", "try agents' webhook, and tell again what it did not take"),
    "hold": ("cli.admin.hold", "keep all messages from a supplier, or --release them"),
    "sessions": ("cli.admin.sessions", "list who is signed in to the dashboard, or end an agent's sessions"),
    "retention": ("cli.admin.retention", "drop what is older than its period"),
    "export-data": ("cli.admin.personal_data", "write everything that is stored of a supplier"),
    "erase": ("cli.admin.personal_data", "erase a supplier for good"),
    "demo": ("cli.dev.demo", "start everything with a simulated population and watch it"),
    "run": ("cli.dev.run", "run a recorded file through the whole pipeline"),
    "up": ("cli.dev.up", "start the embedded Kafka, Postgres and SMTP sink"),
    "down": ("cli.dev.down", "stop the embedded stack"),
    "simulate": ("cli.dev.simulate", "write or publish a simulated population"),
    "preview": ("cli.dev.preview", "render an email to a file or a browser"),
    "token": ("cli.dev.token", "sign a token of the API for development"),
}
INTERRUPTED = 130


class LazyGroup(click.Group):
    """Knows its commands by the table above; `success --help` imports none of them."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The names, in the order of the table, of those whose module is there."""
        return [name for name, (module, _) in COMMANDS.items() if importlib.util.find_spec(module)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command's module; the function has the command's name, `-` as `_`."""
        if name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(COMMANDS[name][0])
        command = getattr(module, name.replace("-", "_"))
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[name][0]}.{name} is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, a heading for each kind of command."""
        names = self.list_commands(ctx)
        for kind, heading in KINDS.items():
            mine = [name for name in names if COMMANDS[name][0].startswith(f"cli.{kind}.")]
            with formatter.section(heading):
                formatter.write_dl([(name, COMMANDS[name][1]) for name in mine])


@click.command(cls=LazyGroup, name="success", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wedsync-success", prog_name="success")
@click.option("--debug", is_flag=True, help="Show the traceback of an error (anywhere on the line).")
def success(debug: bool) -> None:
    """Health scores, milestones and justified messages for suppliers, from a Kafka log."""
    del debug  # taken by `run` before click sees it, so that it may stand anywhere


def run(arguments: list[str]) -> int:
    """Run one command line; returns the exit code (0 done, 1 failed, 2 wrong usage or settings)."""
    debug, arguments = _take_debug(arguments)
    # What Kafka's client logs comes back as an error, which is the one line we print; a command that sets
    # up logging (`worker`) still gets it.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    try:
        outcome = success.main(arguments, prog_name="success", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader (`| head`) has had enough: no complaint at exit either
        return 1
    except Exception as error:  # noqa: BLE001 - the outermost place: every error becomes one line
        if debug:
            traceback.print_exc()
        line, code = explain(error)
        click.echo(line, err=True)
        return code
    return outcome if isinstance(outcome, int) else 0


def _take_debug(arguments: list[str]) -> tuple[bool, list[str]]:
    """Whether `--debug` is among the arguments (before a `--`), and the others."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument != "--debug"]
    return len(options) < end, options + arguments[end:]


def main() -> NoReturn:
    """The entry point of the `success` program."""
    sys.exit(run(sys.argv[1:]))

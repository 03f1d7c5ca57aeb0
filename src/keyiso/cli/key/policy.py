"""``keyiso key policy``."""

import click

from keyiso.cli._options import json_option, machine_option
from keyiso.cli._output import print_details, print_json, printable
from keyiso.cli.key._describe import policy_words, usage_words
from keyiso.cli.key._name import name_argument
from keyiso.keys import AccessRule, Key
from keyiso.names import printable_name


@click.command()
@name_argument
@machine_option
@click.option("--allow", multiple=True, metavar="WHO", help="WHO may use the key.")
@click.option(
    "--allow-manage", multiple=True, metavar="WHO", help="WHO may also change and delete the key."
)
@click.option("--remove", multiple=True, metavar="WHO", help="WHO may do neither any more.")
@json_option
def command(
    name: str,
    machine: bool,
    allow: tuple[str, ...],
    allow_manage: tuple[str, ...],
    remove: tuple[str, ...],
    as_json: bool,
) -> None:
    """What the key NAME may be used for, whether it can be exported, and by whom it is used.

    Without options it only shows. WHO is user:NAME or group:NAME. Usage and export are decided
    when a key is made. Who is removed cannot use the key when the command has ended, not even a
    program that has it open. Your own keys are found by you alone: share keys of the machine.

    \b
    Example: keyiso key policy web --machine --allow user:www-data
    """
    with Key.open(name, machine=machine) as key:
        rules = key.access
        if allow or allow_manage or remove:
            rules = _changed(rules, allow, allow_manage, remove)
            key.set_access(rules)
        if as_json:
            print_json(
                {
                    "name": name,
                    "machine": machine,
                    "usage": usage_words(key.usage),
                    "export_policy": policy_words(key.export_policy),
                    "access": [
                        {"principal": rule.principal, "use": rule.use, "manage": rule.manage}
                        for rule in rules
                    ],
                }
            )
        else:
            print_details(
                [
                    ("Key", printable_name(name)),
                    ("Usage", ", ".join(usage_words(key.usage)) or "none"),
                    ("Export", ", ".join(policy_words(key.export_policy)) or "never"),
                    ("Access", [printable(str(rule)) for rule in rules]),
                ]
            )


def _changed(
    rules: tuple[AccessRule, ...],
    allow: tuple[str, ...],
    allow_manage: tuple[str, ...],
    remove: tuple[str, ...],
) -> tuple[AccessRule, ...]:
    """The list with what was asked for; the last word on somebody counts."""
    wanted = {rule.principal: rule for rule in rules}
    for principal in remove:
        if wanted.pop(principal, None) is None:
            raise click.UsageError(f"{printable(principal)} is not on the key's access list.")
    wanted |= {principal: AccessRule(principal) for principal in allow}
    wanted |= {principal: AccessRule(principal, manage=True) for principal in allow_manage}
    return tuple(wanted.values())

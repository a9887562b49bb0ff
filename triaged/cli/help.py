"""The ``--help`` texts of all commands.

These are constants because ``python -OO`` drops docstrings. The first paragraph is the
summary in the list of commands, which therefore imports no command.
"""

from typing import Final

APP: Final = """\
Rule-based auto-triage of the pending Lexi tasks of a LeadLex workspace.

In doubt it leaves a task alone; a dismissal cannot be undone.
"""

# In the order of the list.
COMMANDS: Final = {
    "init": """\
Write a small rules file to start with, and its schema.

Its rules only observe: nothing is dismissed before you change that.  Existing files
are never overwritten.
""",
    "run": """\
Run the daemon: list pending tasks, decide by the rules, dismiss or leave.

With --once it runs one cycle and exits, for cron.
""",
    "status": """\
Show whether the daemon runs, what it did and what it waits for.

Reads the ledger and the daemon's lock; costs no API call.  Exit code 0: running and
healthy; 1: not running or not healthy.
""",
    "workspaces": """\
Show the state of each workspace of a fleet, those that need attention first.

Reads the fleet's files, the ledger and the daemon's lock; costs no API call.  Exit code
0: none needs attention; 1: one does.
""",
    "daemons": """\
Show which daemons serve a ledger: since when, with which files, and how much each runs.

Reads the ledger or the daemon's lock; costs no API call.  A daemon that was killed is
listed as not alive for a day.  "Workspaces" are those that it ran last and runs again.
""",
    "check": """\
Validate rules files and run the tests in them.

Of a directory of fleet files, all is checked: the workspaces, their keys, and the rules
of each.  Costs no API call.
""",
    "plan": """\
Show what a cycle would do now and why; dismisses nothing.

Costs one API call, or none with --tasks.  Shown are dismissals, observations and
holds; --all shows every task.
""",
    "apply": """\
Dismiss what a reviewed plan contains, except tasks that have changed since.

Costs one API call for the list and one for each dismissal.
""",
    "explain": """\
Show for one task which conditions matched, and what was decided.

A task that the ledger knows is explained as it was decided then, without an API call.
For another TASK_ID, or with --now, the pending tasks are listed: one API call.
""",
    "backtest": """\
Compare the rules with what people approved and dismissed.

Costs up to four API calls; dismisses nothing.
""",
    "suggest": """\
Propose rules for what people dismissed, as a file of observing rules with tests.

Costs up to four API calls, and none for a day after; dismisses nothing.  A rule is
proposed only where tasks that it was not found on confirm it.
""",
    "promote": """\
Let an observing rule act, as its evidence would.

Shows what people did with the tasks that it observed; costs no API call.  A rule with
another match or reason starts anew.
""",
    "demote": """\
Let an acting rule only observe, before its next dismissal.
""",
    "review": """\
Go through the pending tasks one by one: approve, dismiss, skip or quit.

Costs one API call for the list and one for each answer.  An answer is sent when the
next one is given, or by q; so the last one can be undone, and Ctrl-C leaves without
sending it.
""",
    "dismiss": """\
Dismiss tasks by hand: lists them, asks once, and records each in the ledger.

Costs one API call for the list and one for each dismissal.  Protected and vetoed tasks
stay, whatever you ask for.  An ID may be a unique prefix of at least 8 characters.
""",
    "history": """\
Show what was dismissed, by which rule or person, and the outcome.

Reads the ledger; only --agreement --refresh costs API calls.
""",
    "budget": """\
Show how far the API quota goes with these settings, and what cannot work.

Costs no API call: limits come from the settings, or from earlier answers.
""",
    "veto": """\
Keep one task: no rule may dismiss it from now on.

TASK_ID may be a unique prefix of at least 8 characters.
""",
    "pause": """\
Stop dismissing, at once and across restarts; deciding continues.
""",
    "resume": """\
Dismiss again after a pause.
""",
    "backup": """\
Copy the ledger to FILE while a daemon uses it, or verify such a copy.

The copy is consistent and checked, and only its owner may read it.
""",
    "ledger": """\
Make, upgrade or copy a ledger in PostgreSQL, which several daemons can share.
""",
    "notify": """\
Send a test message, or show the digest that would go now.

Costs no API call.  With --test the exit code is 1 if a destination did not accept the
message; no notification URL is ever shown.
""",
    "schema": """\
Print the JSON Schema of the rules file, or of fleet files, for editors.
""",
    "sandbox": """\
Run a LeadLex simulator on loopback, to rehearse without an account.

It has the quota, the 429 answers and made-up tasks, and injects faults on request.  It
prints the variables that point other commands at it.
""",
    "demo": """\
Show everything at work for half a minute: simulator, daemon, example rules.
""",
    "completion": """\
Print the completion script for bash, zsh or fish.

For bash: eval "$(triaged completion bash)" in ~/.bashrc.
""",
}


def summary(command: str) -> str:
    """Return the summary of a command for the list of commands."""
    return " ".join(COMMANDS[command].partition("\n\n")[0].split())

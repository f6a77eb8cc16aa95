"""Every event that the daemon can tell, one by one: the registry that the log is held to.

`headgate events` prints it, the JSON Schema of a log line is made of it, and tests hold the code
and the lines of real daemons to it, both ways.
"""

from collections.abc import Iterable

from controller.record.lines import HEARTBEAT
from controller.record.vocabulary import (
    COUNT,
    FLAG,
    LIST,
    NUMBER,
    OBJECT,
    PERCENT,
    TEXT,
    TEXTS,
    TIME,
    VERSION,
    Channel,
    Field,
    Kind,
    Known,
    each,
    field,
    list_of,
    one_of,
    pair_of,
)
from policies.golden import Finding
from policies.guards import CAPACITY
from policies.pairs import CHECKS, LENGTH, OVERLAP
from policies.replay import YES_OR_NO
from policies.verdict import Outcome
from states.machine import State, Trigger
from states.plan import Level

ARMS = ("candidate", "stable")
STATES = one_of(State)
NAMED: Kind = {"type": ["string", "null"]}
UNSURE: Kind = {"type": ["integer", "null"], "minimum": 0, "maximum": 100}
UNNUMBERED: Kind = {"type": ["integer", "null"], "minimum": 0}
WEIGHTS = each(PERCENT)
MINUTES: Kind = list_of(
    {"type": "array", "prefixItems": [dict(TIME), dict(COUNT), dict(COUNT)], "items": False}
)

HEAD = (
    field("timestamp", TIME, "when it was written down, by the store's clock", always=True),
    field("level", one_of(("info", "warning", "error")), "how bad it is", always=True),
    field("event", TEXT, "what happened", always=True),
    field("because", TEXT, "why, in one sentence"),
    field("application", TEXT, "of which application"),
)
"""Fields of every line that apply."""

JOURNAL = (
    field("seq", {"type": "integer", "minimum": 1}, "its number; they have no gaps", always=True),
    field("schema", COUNT, "the schema that the line was written by"),
)
"""Fields of every line of the journal; `schema` is absent in lines of before it was in all."""

FACTS = (
    field("stable", VERSION, "the version to go back to"),
    field("live", VERSION, "the version of the release under way"),
    field("unproven", VERSION, "the version that serves and that no watch has proven"),
    field("application_hold", TEXT, "why nothing of the application goes on"),
    field("former", VERSION, "the version that was stable before"),
    field("changed_by_others", FLAG, "what others changed waits for an answer"),
    field("weights_seen", WEIGHTS, "by version, as last seen, while it is not as wanted", unit="%"),
    field("applying", TEXT, "how far `apply` has come"),
)
"""What is true of an application as a whole."""

STATUS_FIELDS = (
    field("schema", COUNT, "the schema of this object", always=True),
    field("application", TEXT, "of which application", always=True),
    field("release", TEXT, "application/version", always=True),
    field("version", VERSION, "the model version", always=True),
    field("attempt", {"type": "integer", "minimum": 1}, "which attempt at it", always=True),
    field("state", STATES, "where the release is", always=True),
    field("settled", FLAG, "the world was seen to be what the state wants", always=True),
    field("order", one_of(("run", "pause", "abort")), "what operators want of it", always=True),
    field("hold", NAMED, "why it does not go on"),
    field("step", COUNT, "which of the steps, from 1; 0 before the first", always=True),
    field("steps", list_of(PERCENT), "the pinned steps", unit="%", always=True),
    field("weight", PERCENT, "wanted share of users", unit="%", always=True),
    field("weight_seen", UNSURE, "share of users, as seen when it last settled", unit="%"),
    field("stable", {**NAMED, "pattern": "^[0-9]+$"}, "the version to go back to"),
    field("because", TEXT, "why it is in its state"),
    field("since", TIME, "since when", always=True),
    field("next", NAMED, "what comes by itself, and on what it waits"),
    field("needs_person", FLAG, "waiting does not help", always=True),
    field("ask", NAMED, "what an approval would let it past"),
    field("rollback", NAMED, "ready, or blocked with why; of a live release"),
    field("earliest", {**TIME, "type": ["string", "null"]}, "what is next comes no earlier"),
    field("evidence_span", UNNUMBERED, "by which span's evidence it is judged; 0: none yet"),
)
"""The status object: all of it is in every line of a release, and in heartbeats."""

STATE_BECAUSE = field(
    "state_because", TEXT, "why the release is in its state, where `because` is another reason"
)


def _counted() -> Iterable[Field]:
    """What both versions counted, as a guard sees it."""
    for arm in ARMS:
        yield field(f"{arm}_requests", COUNT, f"what the guard saw of the {arm}", unit="requests")
        for guard in ("errors", "latency", "answers", "shorter", "longer", CAPACITY):
            yield field(f"{arm}_{guard}", COUNT, f"the bad ones of the {arm}", unit="requests")
        yield field(f"{arm}_rate", NUMBER, f"their share of the {arm}'s", unit="fraction")
        yield field(f"{arm}_mean", NUMBER, f"the {arm}'s mean, where a mean is judged")
        yield field(f"{arm}_cost", NUMBER, f"the {arm}'s mean cost of an answer", unit="price")
        for part in ("retrieval", "generation"):
            yield field(f"{arm}_{part}", COUNT, f"faulty answers by {part}", unit="answers")


BLINDNESS = (
    field("silent_seconds", COUNT, "how long the source has told nothing", unit="s"),
    field("unattributed", COUNT, "requests that nothing gives a version to", unit="requests"),
    field("requests", COUNT, "of so many", unit="requests"),
    field("missing", COUNT, "what the source leaves out, or what is short of proof"),
    field("of", COUNT, "of so many, by the endpoint's metrics"),
)
BURNT = (
    field(
        "endpoint_requests",
        COUNT,
        "since the step, or its present stretch of four hours, began",
        unit="requests",
    ),
    field("endpoint_errors", COUNT, "of them, failed", unit="requests"),
    field("permitted_rate", NUMBER, "the rate that is permitted", unit="fraction"),
    field("dispersion", NUMBER, "how much more than chance errors come in bursts; 1 for chance"),
)
VERDICT = (
    field("guard", TEXT, "which guard speaks", always=True),
    field("verdict", one_of(Outcome), "what it says", always=True),
    field("as_of_block", COUNT, "by the blocks up to this number", always=True),
    field("rules", COUNT, "by these rules of judging; none: by earlier ones"),
    field("observe", FLAG, "it only observes, and decides nothing"),
    field("span", COUNT, "of the time since this change of weight"),
    field("weight", PERCENT, "the step whose safety is judged", unit="%"),
    field("pace", NUMBER, "what the endpoint gets", unit="requests/s"),
    *_counted(),
    field("margin", NUMBER, "how much worse is allowed on the step; a fraction, or of a mean"),
    field("evidence", NUMBER, "the odds that were reached", unit=": 1"),
    field("opens_at", NUMBER, "the odds that open", unit=": 1"),
    field("closes_at", NUMBER, "the odds that close", unit=": 1"),
    field("seconds_missing", COUNT, "about how long until it is decided", unit="s"),
    *(one for one in BLINDNESS),
    *(one for one in BURNT),
    field("silences", each(NUMBER), "how long each source has told nothing", unit="s"),
    field("max_lag", NUMBER, "how late a source may be", unit="s"),
    field("fuse", OBJECT, "what the fuse was set to, to derive the verdict again"),
    field("minutes", MINUTES, "the endpoint's minutes: end, requests, failed"),
    field("before", OBJECT, "what the fuse at 100 % was set to, to derive the verdict again"),
)

BLOCK = (
    field("number", COUNT, "which block of the release, from 1", always=True),
    field("source", TEXT, "who counted", always=True),
    field("step", COUNT, "on which step", always=True),
    field("span", COUNT, "since which change of weight, or of how users are split", always=True),
    field("comparable", FLAG, "counted after the step had settled", always=True),
    field("whole", FLAG, "the candidate had all users", always=True),
    field("mixed", FLAG, "users were split anew, or a clock set, within it: told, and not tested"),
    field("opened_at", TIME, "where the window begins", always=True),
    field("closed_at", TIME, "where it ends", always=True),
    field("unattributed", COUNT, "that nothing gives a version to", unit="requests", always=True),
    field("unattributed_errors", COUNT, "of them, failed", unit="requests", always=True),
    field("late", COUNT, "rows of earlier windows, not added", unit="requests", always=True),
    *(
        field(f"{arm}_{count}", COUNT, f"of the {arm}: {told}", unit="requests", always=True)
        for arm in ARMS
        for count, told in (
            ("requests", "all"),
            ("errors", "failed"),
            ("server_errors", "5xx or no answer"),
            ("rejected", "429"),
        )
    ),
    *(field(f"{arm}_tallies", OBJECT, f"what answers of the {arm} were like") for arm in ARMS),
    field("coverage", each(COUNT), "the same minutes by the endpoint's metrics", unit="requests"),
)

POST_MORTEM = (
    field("guard", TEXT, "which guard closed the gate, if one did"),
    field("source", TEXT, "who counted"),
    field("requests", COUNT, "that users sent to the candidate, as counted", unit="requests"),
    field("observed", COUNT, "of them, those that the guard speaks of", unit="requests"),
    field("bad", COUNT, "of these, the bad ones", unit="requests"),
    field("excess", COUNT, "of these, more than with stable", unit="requests"),
    field("bad_rate", NUMBER, "the bad ones' share", unit="fraction"),
    field("usual_rate", NUMBER, "stable's over the same windows", unit="fraction"),
    field("kinds", list_of(pair_of(TEXT, COUNT)), "the bad ones by kind", unit="requests"),
    field("mean", NUMBER, "the candidate's mean, where a mean is judged"),
    field("usual_mean", NUMBER, "stable's over the same windows"),
    field("users_weight", PERCENT, "the most users that it had since it went wrong", unit="%"),
    field("first_bad_from", TIME, "it went wrong no earlier, by Databricks' clock"),
    field("first_bad_until", TIME, "and no later, by the same"),
    field("shut_at", TIME, "when it had no users any more, by the record's clock"),
    field("shut_after_s", NUMBER, "how long that took since it went wrong", unit="s"),
    field("lag_s", NUMBER, "how late the source was when it was decided to go back", unit="s"),
    field("uncounted", COUNT, "about how many more came after the last count", unit="requests"),
)

REPLAYED = (
    field("verdict", one_of(Outcome), "what both versions' answers say", always=True),
    field("guard", TEXT, "what decided, or is least decided", always=True),
    field("worst", list_of(each(TEXT)), "the worst pairs: request id, and what is worse"),
    field("pairs", COUNT, "that both answered and that are compared", always=True),
    field("drawn", COUNT, "that were to be asked", unit="requests", always=True),
    field("missing", COUNT, "that could not be asked or compared", unit="requests", always=True),
    field("troubled", COUNT, "that failed on both", unit="requests", always=True),
    *(
        field(f"{arm}_{check}", COUNT, f"the bad ones of the {arm}", unit="answers")
        for arm in ARMS
        for check in YES_OR_NO
    ),
    *(
        field(f"{check}_ratio", NUMBER, "the candidate's over stable's, the mean of pairs")
        for check in ("latency", "tokens", "length")
    ),
    field("other_sources", NUMBER, "share of sources that stable did not name", unit="fraction"),
    *(
        field(f"{one}_evidence", NUMBER, "the odds of no worse", unit=": 1")
        for one in CHECKS
        if one not in (OVERLAP, LENGTH)
    ),
    field("harm_evidence", NUMBER, "the odds of harm", unit=": 1"),
    field("evidence", NUMBER, "the odds of harm that were reached", unit=": 1"),
    field("fails_at", NUMBER, "the odds that end the release", unit=": 1"),
    field("passes_at", NUMBER, "the odds that are asked for", unit=": 1"),
)

_ENDPOINT = (field("endpoint", TEXT, "the staging endpoint", always=True),)
_WARN: tuple[Level, ...] = ("warning",)
_ANY: tuple[Level, ...] = ("info", "warning")


def _process(name: str, level: Level, meaning: str, *fields: Field) -> Known:
    channel: Channel = "process"
    return Known(name=name, meaning=meaning, levels=(level,), fields=fields, channel=channel)


_RECEIVER = field("receiver", TEXT, "the receiver's name", always=True)

_EVENTS = (
    Known(
        name="release.registered",
        meaning="A version begins a release, or was found serving.",
        fields=(field("adopted", FLAG, "it was found serving when Headgate came"),),
    ),
    Known(
        name="release.transition",
        meaning="A release enters a state or a step, by decision.",
        levels=("info", "error"),
        fields=(
            field("from_state", STATES, "the state before", always=True),
            field("to_state", STATES, "the state after", always=True),
            field("trigger", one_of(Trigger), "which arrow it took", always=True),
        ),
    ),
    Known(name="release.settled", meaning="The world was seen to be what the state wants."),
    Known(name="release.confirmed", meaning="The watch has ended: the version is stable now."),
    Known(
        name="release.held",
        meaning="A release, or its application, does not go on by itself.",
        levels=("info", "warning", "error"),
    ),
    Known(name="release.freed", meaning="What held it is gone."),
    Known(
        name="release.judged",
        meaning="Guards and sources are pinned, as the first users come.",
        fields=(
            field("sources", list_of(pair_of(TEXT, TEXT)), "who counts for each guard"),
            field("guards", OBJECT, "the guards with their margins and limits", always=True),
            field("measures", OBJECT, "how answers' numbers are counted", always=True),
            field("history", OBJECT, "stable's day before"),
            field("dispersion", NUMBER, "how much more than chance errors come in clusters"),
        ),
    ),
    Known(name="release.resumed", meaning="A person let it go on: the step's proof starts anew."),
    Known(
        name="rollback.blocked",
        meaning="Users could not be taken back now, if they had to be.",
        levels=("error",),
    ),
    Known(name="rollback.ready", meaning="Users could be taken back again."),
    Known(name="release.removed", meaning="An ended release's entity is taken off the endpoint."),
    Known(
        name="release.post_mortem",
        meaning="What a rollback leaves to be told, once users were seen home.",
        levels=_WARN,
        fields=POST_MORTEM,
    ),
    Known(
        name="release.examples",
        meaning="Some of the bad requests of a release that was rolled back, by their ids.",
        fields=(
            field("guard", TEXT, "whose bad requests they are", always=True),
            field("request_ids", TEXTS, "what to look up in the inference table", always=True),
            field("statuses", list_of(pair_of(TEXT, COUNT)), "how many ended how", always=True),
            field("first_at", TIME, "when the first was answered"),
        ),
    ),
    Known(
        name="tests.finished",
        meaning="The golden queries were asked once of both versions.",
        levels=_ANY,
        fields=(
            field("endpoint", TEXT, "where they were asked", always=True),
            field("asked", COUNT, "how many", unit="queries", always=True),
            field("failed", list_of(COUNT), "numbers of those that the candidate failed"),
            field("failed_on_stable", list_of(COUNT), "numbers of those that stable failed"),
            field("finding", one_of(Finding), "what all rounds say so far", always=True),
        ),
    ),
    Known(
        name="tests.read",
        meaning="Golden queries were read from their table, and are pinned.",
        fields=(
            field("table", TEXT, "which table", always=True),
            field("queries", COUNT, "how many", unit="queries", always=True),
        ),
    ),
    Known(name="staging.created", meaning="The staging endpoint is there.", fields=_ENDPOINT),
    Known(name="staging.passed", meaning="The version passed on staging.", fields=_ENDPOINT),
    Known(
        name="staging.removed",
        meaning="The staging endpoint is gone.",
        levels=_ANY,
        fields=_ENDPOINT,
    ),
    Known(
        name="staging.left",
        meaning="The staging endpoint cannot be removed, or is somebody else's.",
        levels=_WARN,
        fields=_ENDPOINT,
    ),
    Known(
        name="replay.started",
        meaning="Recorded requests were drawn, to be asked of both versions.",
        fields=(field("drawn", COUNT, "how many", unit="requests", always=True),),
    ),
    Known(
        name="replay.batch",
        meaning="Some more of the recorded requests were asked.",
        fields=(
            field("asked", COUNT, "so far", unit="requests", always=True),
            field("drawn", COUNT, "of so many", unit="requests", always=True),
            field("pairs", COUNT, "that both answered", always=True),
        ),
    ),
    Known(
        name="replay.finished",
        meaning="What the replay says of the candidate.",
        levels=_ANY,
        fields=REPLAYED,
    ),
    Known(
        name="evidence.block",
        meaning="One closed window of one source, with both versions' counts.",
        fields=BLOCK,
    ),
    Known(
        name="evidence.blind",
        meaning="A source is silent or leaves out too much: the gate is shut, nobody is blamed.",
        levels=_WARN,
        fields=BLINDNESS,
    ),
    Known(name="evidence.seen", meaning="The counts that were missing have come: it goes on."),
    Known(
        name="gate.verdict",
        meaning="What a guard says, when it changes or decides.",
        levels=("info", "warning", "error"),
        fields=VERDICT,
    ),
    Known(
        name="fuse.blown",
        meaning="The whole endpoint errs more than before the step: the gate is shut at once.",
        levels=_WARN,
        fields=BURNT,
    ),
    Known(
        name="endpoint.update",
        meaning="The endpoint was seen to serve something else, as Headgate wants it.",
        fields=(
            field("weights", WEIGHTS, "by served entity", unit="%", always=True),
            field("versions", WEIGHTS, "by version of the model", unit="%"),
            field("config_version", COUNT, "the endpoint's own number of the change"),
            field("size", TEXT, "what the running version is sized to, after `apply`"),
            field("variables", TEXTS, "names of the variables that it runs with, after `apply`"),
        ),
    ),
    Known(
        name="endpoint.foreign_change",
        meaning="Somebody else changed what Headgate owns: it holds, and asks.",
        levels=_WARN,
        fields=(
            field("wanted", TEXT, "what should be"),
            field("found", TEXT, "what is"),
            field("difference", TEXTS, "each difference, in words"),
            field("serving", TEXT, "what it serves, where it cannot be adopted"),
        ),
    ),
    Known(
        name="endpoint.given_up",
        meaning="Entities without users could not be built again, and are asked for no more.",
        levels=_WARN,
        fields=(field("entities", TEXTS, "their names", always=True),),
    ),
    Known(name="endpoint.permitted", meaning="The configured permissions were given."),
    Known(
        name="alias.moved",
        meaning="The alias was seen to name another version, as Headgate wants it.",
        fields=(
            field("alias", TEXT, "which alias", always=True),
            field("from_version", VERSION, "what it named before"),
            field("to_version", VERSION, "what it names now", always=True),
        ),
    ),
    Known(
        name="order.given",
        meaning="An operator said something, which the next look obeys.",
        fields=(
            field("actor", TEXT, "who"),
            field("reason", TEXT, "why, if they said"),
            field("via", one_of(("store", "http")), "whether in the store, or over HTTP"),
            field("verb", TEXT, "the word"),
            field("on", TEXT, "what an approval, or a promotion, is of"),
            field("overrides", TEXTS, "what is not proven, or holds, and is gone past"),
            field("answer", one_of(("adopt", "revert")), "the answer to what others changed"),
            field("difference", TEXTS, "what is answered"),
            field("apply", TEXT, "the size that the running version is to have"),
            field("variables", TEXTS, "names of the variables that it is to have"),
        ),
    ),
    Known(name="order.refused", meaning="What was ordered was not done.", levels=_WARN),
    Known(name="apply.started", meaning="The running version is being set up as configured."),
    Known(
        name="apply.finished",
        meaning="The running version is set up as configured, or serves no more.",
    ),
    Known(
        name="config.loaded",
        meaning="The configuration was read; a warning, if it leaves a live release out.",
        levels=("info", "warning"),
        fields=(field("applications", TEXTS, "what it looks after", always=True),),
    ),
    Known(name="config.refused", meaning="The configuration is wrong.", levels=("error",)),
    Known(name="daemon.started", meaning="A daemon begins to look after its applications."),
    Known(name="daemon.stopped", meaning="A daemon ends, as it was told to."),
    Known(
        name=HEARTBEAT,
        meaning="An application's state, every five minutes; it is not a row of the journal.",
        channel="heartbeat",
        fields=(
            field("as_of_seq", COUNT, "the journal's last row that it knows", always=True),
            field("schema", COUNT, "the schema that the line was written by"),
            field("looked_at", TIME, "when the endpoint was last looked at"),
            field("releases", LIST, "the status object of each release that is shown", always=True),
        ),
    ),
    _process(
        "daemon.ready",
        "info",
        "The daemon is set up, and its first look comes now.",
        field("seconds", NUMBER, "since its start", unit="s", always=True),
        field("store", TEXT, "where it writes", always=True),
    ),
    _process("daemon.stalled", "error", "Beats stopped, or a pass hangs."),
    _process("daemon.recovered", "info", "Beats end in time again."),
    _process("daemon.tick_lost", "warning", "The scheduler did not ring in time: it begins anew."),
    _process("beat.failed", "error", "A beat ended with a defect; the next one comes."),
    _process("heartbeat.failed", "error", "An application's state could not be told."),
    _process("pass.failed", "error", "A pass ended with a defect; the next one comes."),
    _process("pass.conflict", "info", "A pass looks again: the record changed under it."),
    _process("pass.overtaken", "warning", "The lease went elsewhere: the pass wrote nothing."),
    _process("look.overtaken", "info", "An abort came while it looked: it looks again."),
    _process(
        "clock.leapt",
        "warning",
        "The store's clock was set: times of the record, or what is counted, move along.",
        field("seconds", NUMBER, "by so much", unit="s", always=True),
    ),
    _process("application.quarantined", "error", "An application's passes keep failing."),
    _process("application.freed", "info", "An application's passes go through again."),
    _process("quarantine.unwritten", "error", "A quarantine could not be written down."),
    _process("notify.failed", "warning", "A receiver did not take a message.", _RECEIVER),
    _process("notify.resumed", "info", "A receiver takes messages again.", _RECEIVER),
    _process("notify.waits", "warning", "The store cannot be read: messages wait.", _RECEIVER),
    _process("notify.broken", "error", "Telling a receiver ended with a defect.", _RECEIVER),
    _process(
        "log.resumed",
        "warning",
        "The log can be written again; rows that waited follow.",
        field("lost", COUNT, "other lines that could not be written", always=True),
    ),
    _process("store.failed", "error", "The store could not be read or written; nothing is sent."),
    _process(
        "call.failed",
        "warning",
        "The workspace did not take a change, or nobody knows.",
        field("kind", TEXT, "what kind of change", always=True),
        field("target", TEXT, "what was asked", always=True),
        field("outcome", TEXT, "what is known: refused, or open while nobody knows", always=True),
    ),
    _process(
        "call.unsent",
        "warning",
        "A change was written down and not sent.",
        field("target", TEXT, "what was to be asked", always=True),
    ),
    _process(
        "workspace.unseen",
        "warning",
        "Something of the workspace cannot be read.",
        field("what", TEXT, "what", always=True),
    ),
    _process(
        "workspace.seen",
        "info",
        "It can be read again.",
        field("what", TEXT, "what", always=True),
    ),
    _process("workspace.backoff", "warning", "Calls keep failing: they are tried less often."),
    _process(
        "workspace.recovered",
        "info",
        "Calls succeed again.",
        field("failures", COUNT, "how many had failed in a row", always=True),
    ),
    _process(
        "workspace.budget",
        "warning",
        "The writes of five minutes are spent: changes wait.",
        field("waiting", COUNT, "how many changes wait", always=True),
    ),
    _process(
        "workspace.list_mistrusted", "warning", "The list of endpoints does not show changes."
    ),
    _process(
        "registry.signature_unreadable",
        "warning",
        "A version's signature cannot be read.",
        field("model", TEXT, "of which model", always=True),
        field("version", VERSION, "and version", always=True),
    ),
    _process("evidence.unread", "warning", "The warehouse could not be asked."),
    _process("examples.unread", "warning", "Bad requests could not be looked up."),
    _process("probe.unsent", "warning", "A marked request could not be sent."),
    _process(
        "probe.failed",
        "warning",
        "A marked request got no good answer.",
        field("entity", TEXT, "of which served entity", always=True),
    ),
    _process(
        "doorbell.rung",
        "info",
        "Somebody rang: the next look comes at once.",
        field("applications", TEXTS, "of these applications", always=True),
    ),
    _process(
        "doorbell.refused",
        "warning",
        "A ring was refused.",
        field("refused", COUNT, "how many since the last such line", always=True),
    ),
    _process(
        "leases.changed",
        "info",
        "A replica has other applications than before.",
        field("replica", TEXT, "which replica"),
        field("applications", COUNT, "how many it has", always=True),
        field("of", COUNT, "of so many", always=True),
        field("prints", FLAG, "it prints the journal", always=True),
    ),
    _process("leases.kept", "warning", "A lease could not be given back; it lapses by itself."),
    _process("leases.failed", "error", "Leases could not be renewed, by a defect."),
)

EVENTS = {one.name: one for one in _EVENTS}
"""All of them, by name."""

RAISED = ("beat.failed", "heartbeat.failed", "pass.failed", "quarantine.unwritten", "leases.failed")
"""Events that a defect leads to: they have `exception`, which names places and no values."""

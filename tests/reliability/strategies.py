"""What Hypothesis draws for the model: texts, ages, rules files and server_limits."""

from hypothesis import strategies as st

from tests.reliability.model_rules import COPIES, PROTECTED, WORDS, Act, RuleSpec, Spec
from tests.reliability.model_server import ServerLimits

# What is drawn most comes first and often: most tasks are to go, or nothing happens.
ages = st.sampled_from([180, 4320, 4320, 240, 30, 5, 0, None])
texts = st.lists(
    st.sampled_from([*WORDS * 3, PROTECTED, "call", "merge"]), min_size=1, max_size=3
).map(" ".join)
acts: st.SearchStrategy[Act] = st.sampled_from(
    [*["enforce"] * 6, "observe", "observe", "leave", "off"]
)
holds = st.sampled_from([*[0] * 5, 1, 24])
caps = st.sampled_from([*[None] * 5, 3, 2, 0])
server_limits = st.sampled_from(
    [
        ServerLimits(minute=1000, day=10_000),
        ServerLimits(minute=1000, day=10_000),
        ServerLimits(minute=10, day=100),
        ServerLimits(minute=50, day=60),
    ]
)


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Draw a rules file."""
    words = draw(st.permutations([*WORDS, COPIES]))
    rules = []
    for word in words[: draw(st.sampled_from([6, 6, 6, 6, 4, 2]))]:
        act, hold, cap = draw(acts), draw(holds), draw(caps)
        if act == "leave":
            hold, cap = 0, None
        rules.append(RuleSpec(on=word, act=act, hold_hours=hold, cap=cap))
    return Spec(
        rules=tuple(rules),
        per_cycle=draw(st.sampled_from([*[25] * 15, 3, 1, 0])),
        per_day=draw(st.sampled_from([*[200] * 8, 5, 2, 0])),
        share=draw(st.sampled_from(["1.0", "1.0", "0.5", "0.5", "0.29"])),
        min_age_minutes=draw(st.sampled_from([10, 10, 60])),
    )

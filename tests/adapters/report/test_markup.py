"""What goes into a page as text comes out as text."""

from hypothesis import given
from hypothesis import strategies as st

from adapters.report import markup
from tests.adapters.report.pages import Page

NASTY = st.text(st.sampled_from("<>&'\"/=- scriptalx\\")) | st.just("</script><script>alert(1)</script><!--")


@given(NASTY, NASTY)
def test_any_text_is_shown_and_any_data_is_read_as_it_was(shown: str, given_to_chart: str) -> None:
    source = markup.page(shown, "", [markup.tag("b", markup.say(shown), title=shown)], {"a": {"name": given_to_chart}})
    page = Page(source)
    assert page.text == f"\n{shown}{shown}\n"
    assert page.charts == {"a": {"name": given_to_chart}}
    assert page.tags.count("script") == 3


def test_costs_take_their_colour_from_the_sign_that_is_written() -> None:
    assert {written: markup.tone(written) for written in ("+0.1", "-0.1", "0.0", "-")} == {
        "+0.1": "cost",
        "-0.1": "gain",
        "0.0": "",
        "-": "",
    }


def test_minus_signs_and_what_is_not_known_are_typeset() -> None:
    assert markup.number("-1.5") == '<td class="n">−1.5</td>'
    assert markup.number("-") == '<td class="n">–</td>'
    assert markup.cost("-1.5") == '<td class="n gain">−1.5</td>'

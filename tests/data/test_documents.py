import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from altgrad.data import documents as module
from altgrad.data.documents import CleanDocuments, Document, split_documents
from altgrad.errors import CorpusError

# Few texts and few ids, so that copies are common.
DOCUMENTS = st.lists(
    st.builds(Document, st.sampled_from("abcdefgh"), st.sampled_from([None, "1", "2", "3"])), min_size=1, max_size=30
)


def held_out(documents, seed=0, val_fraction=0.3):
    mask = split_documents(documents, seed, val_fraction, "corpus x").held_out
    sides = [[], []]
    for out, document in zip(mask, documents, strict=True):
        sides[int(out)].append(document)
    return sides


@settings(deadline=None)
@given(DOCUMENTS, st.integers(0, 5))
def test_no_copy_stands_on_both_sides(documents, seed):
    try:
        train, val = held_out(documents, seed)
    except CorpusError as error:
        assert "split off by document" in str(error)
        return
    assert train and val
    assert not {d.text for d in train} & {d.text for d in val}
    assert not {d.id for d in train if d.id} & {d.id for d in val if d.id}


@settings(deadline=None)
@given(st.sets(st.text("abc", min_size=1, max_size=5), min_size=2, max_size=40), st.randoms(use_true_random=False))
def test_the_split_does_not_depend_on_the_order(texts, random):
    documents = [Document(text) for text in sorted(texts)]
    shuffled = random.sample(documents, len(documents))
    assert set(held_out(documents)[1]) == set(held_out(shuffled)[1])


@pytest.mark.parametrize("val_fraction", [0.01, 0.1, 0.5, 0.99])
def test_the_share_held_out_is_the_one_asked_for(val_fraction):
    documents = [Document(str(number)) for number in range(1000)]
    train, val = held_out(documents, val_fraction=val_fraction)
    assert len(val) == round(1000 * val_fraction)
    assert len(train) + len(val) == 1000


def test_each_side_gets_at_least_one_document():
    for fraction in (0.001, 0.999):
        train, val = held_out([Document("a"), Document("b")], val_fraction=fraction)
        assert (len(train), len(val)) == (1, 1)


def test_another_seed_is_another_split():
    documents = [Document(str(number)) for number in range(100)]
    assert held_out(documents, 1)[1] != held_out(documents, 2)[1]


def test_copies_are_joined_through_chains():
    # a-1, b-1, b-2, c-2: the first and the last share neither text nor id.
    chain = [Document("a", "1"), Document("b", "1"), Document("b", "2"), Document("c", "2")]
    with pytest.raises(CorpusError, match="4 copies of one document of 1 characters"):
        split_documents(chain, 0, 0.5, "corpus x")
    assert split_documents([*chain, Document("d")], 0, 0.5, "corpus x").duplicates == 3


def test_one_huge_document_is_refused():
    with pytest.raises(CorpusError) as error:
        split_documents([Document("x" * 5000)], 0, 0.1, "corpus x")
    assert str(error.value) == (
        "corpus x: it is one document of 5000 characters, and validation is split off by document. "
        "Give at least two different documents, for example the parts of it as separate ones."
    )


def test_an_empty_corpus_is_refused():
    with pytest.raises(CorpusError, match="corpus x: it is empty: no document holds any text"):
        split_documents([], 0, 0.1, "corpus x")


def test_cleaning_skips_and_counts_empty_documents_and_keeps_nul():
    documents = CleanDocuments([Document(t) for t in ("", "a\r\nb\rc\n", " \n\t", "nul\0nul")])
    for _ in range(2):  # any number of passes
        assert [d.text for d in documents] == ["a\nb\nc\n", "nul\0nul"]
        assert documents.empty == 2


def test_the_limit_counts_documents_with_text():
    documents = CleanDocuments([Document(t) for t in ("a", "", "b", "c")], limit=2)
    assert [d.text for d in documents] == ["a", "b"]


def test_copies_that_differ_in_line_ends_are_copies():
    documents = CleanDocuments([Document("a\nb"), Document("a\r\nb"), Document("c")])
    assert split_documents(documents, 0, 0.5, "corpus x").duplicates == 1


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(module).failed == 0

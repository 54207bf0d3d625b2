import collections
import hashlib
import math
import re

import pytest

from altgrad.data import synthetic


@pytest.fixture(scope="module")
def acts():
    from altgrad.study.config import CorpusConfig

    config = CorpusConfig(name="s", source="synthetic", tokenizer="byte", size_bytes=600_000)
    return [document.text for document in synthetic.documents(config, None)]


def test_the_text_is_a_function_of_the_seed(corpus_config, tmp_path):
    def text(seed):
        config = corpus_config(source="synthetic", seed=seed, size_bytes=30_000)
        return "".join(document.text for document in synthetic.documents(config, tmp_path))

    # Golden: it changes only together with GENERATOR_REVISION.
    assert synthetic.GENERATOR_REVISION == 1
    assert hashlib.sha256(text(0).encode()).hexdigest() == (
        "8eb82d6fe41e4583ccf8f8dbb811fc99a47a57468523dd0ef5e3e05cc775290e"
    )
    assert text(0) != text(1)


def test_the_size_is_reached_by_the_last_act_and_not_before(acts):
    sizes = [len(act.encode()) for act in acts]
    assert sum(sizes[:-1]) < 600_000 <= sum(sizes)


def test_acts_are_of_many_lengths(acts):
    sizes = sorted(len(act.encode()) for act in acts)
    assert 1_000 <= sizes[0] < 4_000
    assert 12_000 < sizes[-1] <= 30_000
    assert len(set(acts)) == len(acts)


def test_references_point_to_paragraphs_of_earlier_articles(acts):
    references = 0
    for act in acts:
        paragraphs: dict[int, int] = {}
        for block in act[act.index("Article 1\n") :].split("\n\n"):
            heading = re.match(r"Article (\d+)\n", block)
            body = block.split("\n", 1)[1] if heading else block
            for number, paragraph in re.findall(r"Article (\d+)(?:\((\d+)\))?", body):
                references += 1
                assert 1 <= int(paragraph or 1) <= paragraphs[int(number)]
            if heading:
                assert int(heading[1]) == len(paragraphs) + 1
                paragraphs[int(heading[1])] = max(1, len(re.findall(r"^\d+\. ", block, re.MULTILINE)))
    assert references > 500


def test_terms_are_defined_before_they_are_used(acts):
    used = 0
    for act in acts:
        definitions, rest = act.split("For the purposes of this ", 1)[1].split("\n\n", 1)
        terms = re.findall(r"^\([a-h]\) '(.+)' means", definitions, re.MULTILINE)
        assert terms and len(set(terms)) == len(terms)
        used += sum(rest.count(f"the {term}") for term in terms)
    assert used > 10 * len(acts)


def test_some_acts_have_annexes_and_all_have_subjects(acts):
    assert 0.1 < sum("\n\nANNEX\n" in act for act in acts) / len(acts) < 0.5
    assert all(re.search(r"^Subjects: \w+", act, re.MULTILINE) for act in acts)


def test_words_follow_a_zipf_law(acts):
    counts = sorted(collections.Counter(word for act in acts for word in act.split()).values(), reverse=True)
    ranks = [10, 30, 100, 300, 1000]
    # The slope of log count against log rank, by least squares: near -1 for natural language.
    x = [math.log(rank) for rank in ranks]
    y = [math.log(counts[rank - 1]) for rank in ranks]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
    assert -1.8 < slope < -0.7


def test_context_predicts_the_next_character(acts):
    """Held-out cross-entropy (bits a character) must fall steeply from no context to three characters."""

    def bits(order):
        counts = collections.defaultdict(collections.Counter)
        train = "".join(acts[5:])
        for i in range(order, len(train)):
            counts[train[i - order : i]][train[i]] += 1
        held = "".join(acts[:5])
        total = 0.0
        for i in range(order, len(held)):
            seen = counts[held[i - order : i]]
            total -= math.log2((seen[held[i]] + 0.1) / (seen.total() + 0.1 * 100))
        return total / (len(held) - order)

    assert bits(0) > 4
    assert bits(3) < 2.2

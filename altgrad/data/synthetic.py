"""The corpus source `synthetic`: text in the form of EU acts, made here, so that everything runs with no download.

It is no legislation and no natural language. It has what a language model can learn from: stock phrases, a Zipf
vocabulary that depends on the act's subjects, numbering that counts up, terms that are defined once and used later, and
references that point to earlier articles of the same act.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from altgrad.data.documents import Document
from altgrad.data.lexicon import Lexicon, Random, Words
from altgrad.study.config import CorpusConfig

GENERATOR_REVISION = 1
"""Raised in the commit that changes the text made from a seed."""

ORGANS = ("THE COUNCIL OF THE UNION", "THE EUROPEAN COMMISSION", "THE EUROPEAN PARLIAMENT AND THE COUNCIL")
KINDS = ("REGULATION", "DIRECTIVE", "DECISION")
MONTHS = "January February March April May June July August September October November December".split()

CITATIONS = (
    "Having regard to the Treaty on the Functioning of the European Union, and in particular Article {small} thereof,",
    "Having regard to the proposal from the European Commission,",
    "Having regard to the opinion of the European Economic and Social Committee,",
    "Having regard to {KIND} No {act} on the {adjective} {noun} of {noun}, and in particular Article {few} thereof,",
)
RECITALS = (
    "{KIND} No {act} lays down rules on the {adjective} {noun} of {noun}.",
    "It is necessary to {verb} the {noun} of {adjective} {noun} in order to {verb} the {noun} of the internal market.",
    "The measures provided for in this {Kind} are in accordance with the opinion of the Committee on {noun}.",
    "In view of the {adjective} {noun}, Member States should {verb} the {noun} without undue delay.",
    "Experience has shown that the {noun} of {noun} does not {verb} the {adjective} {noun}.",
    "{KIND} No {act} should therefore be amended accordingly.",
)
SENTENCES = (
    "Member States shall {verb} the {term} in accordance with {earlier}.",
    "The Commission shall {verb} the {noun} of the {term} not later than {date}.",
    "Where the {term} is {adjective}, the competent authority shall {verb} it within {few} days.",
    "For the purposes of {earlier}, the {noun} shall be deemed to {verb} the {adjective} {noun}.",
    "The competent authorities shall inform the Commission of any {adjective} {noun} relating to the {term}.",
    "By way of derogation from {earlier}, the {term} may {verb} the {noun} of {noun}.",
    "The {noun} of the {term} shall not exceed {small} % of the {adjective} {noun}.",
    "Any {noun} which does not {verb} the {term} shall be notified to the {noun} without delay.",
    "The amount of EUR {amount} shall be allocated to the {noun} of {adjective} {noun}.",
)
POINTS = ("the {adjective} {noun} of the {term}", "the {noun}, within the meaning of {earlier}", "any {noun} to {verb}")

_SLOT = re.compile(r"\{(\w+)\}")


def identity(config: CorpusConfig) -> dict[str, Any]:
    """Return what the text is made from: the generator's revision, the seed and the size."""
    return {"generator_revision": GENERATOR_REVISION, "seed": config.seed, "size_bytes": config.size_bytes}


def documents(config: CorpusConfig, scratch: Path) -> list[Document]:
    """Return acts until their texts reach `size_bytes`.

    Args:
        config: Gives the seed and the size.
        scratch: Not needed here.
    """
    random = Random(config.seed)
    lexicon = Lexicon(random)
    acts: list[Document] = []
    size = 0
    while size < config.size_bytes:
        text = Act(random, lexicon).write()
        size += len(text.encode())
        acts.append(Document(text))
    return acts


class Act:
    """One act: what it has said so far decides what it can refer to.

    Args:
        random: Where every choice comes from.
        lexicon: The corpus's words.
    """

    def __init__(self, random: Random, lexicon: Lexicon) -> None:
        self._random = random
        self._subjects = random.sample(lexicon.subjects, 1 + random.below(2))
        self._words: Words = lexicon.words_of(self._subjects)
        self._kind = random.choice(KINDS)
        self._articles: list[int] = []  # paragraphs of each finished article
        terms = [self._fill("{adjective} {noun}") for _ in range(2 + random.below(4))]
        self._terms = list(dict.fromkeys(terms))

    def write(self) -> str:
        """Return the act's text: title, subjects, citations, recitals, articles, and now and then an annex."""
        # Most acts are short and some are long; the square gives the tail.
        length = 3 + int(24 * self._random.uniform() ** 2)
        parts = [self._title(), self._preamble(), self._scope(), self._definitions()]
        parts += [self._article() for _ in range(length)]
        parts.append(self._closing())
        if self._random.uniform() < 0.3:
            parts.append(self._annex())
        return "\n\n".join(parts) + "\n"

    def _title(self) -> str:
        organ = self._random.choice(ORGANS)
        title = f"{self._kind} (EU) No {self._act()}\nof {self._date()}\non the {self._terms[0]} of {self._noun()}"
        return f"{title}\nSubjects: {', '.join(self._subjects)}\n\n{organ},"

    def _preamble(self) -> str:
        citations = [CITATIONS[0], *self._random.sample(CITATIONS[1:], 1 + self._random.below(3))]
        recitals = [self._fill(self._random.choice(RECITALS)) for _ in range(2 + self._random.below(6))]
        numbered = [f"({number}) {recital}" for number, recital in enumerate(recitals, start=1)]
        lines = [self._fill(citation) for citation in citations]
        return "\n".join([*lines, "Whereas:", *numbered, f"HAS ADOPTED THIS {self._kind}:"])

    def _scope(self) -> str:
        self._articles.append(1)
        body = self._fill("This {Kind} lays down rules on the {noun} and {noun} of the ")
        return f"Article 1\nSubject matter\n{body}{self._terms[0]}."

    def _definitions(self) -> str:
        self._articles.append(1)
        lines = ["Article 2", "Definitions", self._fill("For the purposes of this {Kind}:")]
        for letter, term in zip("abcdefgh", self._terms, strict=False):
            meaning = self._fill("means any {noun} which is {adjective} to {verb} the {noun}")
            lines.append(f"({letter}) '{term}' {meaning};")
        return "\n".join(lines)

    def _article(self) -> str:
        number = len(self._articles) + 1
        paragraphs = [self._paragraph() for _ in range(1 + self._random.below(4))]
        lines = [f"Article {number}"]
        if self._random.uniform() < 0.5:
            lines.append(self._fill("{noun} of the {term}").capitalize())
        if len(paragraphs) == 1:
            lines += paragraphs
        else:
            lines += [f"{count}. {paragraph}" for count, paragraph in enumerate(paragraphs, start=1)]
        self._articles.append(len(paragraphs))
        return "\n".join(lines)

    def _paragraph(self) -> str:
        sentences = [self._fill(self._random.choice(SENTENCES)) for _ in range(1 + self._random.below(3))]
        if self._random.uniform() < 0.15:
            points = [self._fill(self._random.choice(POINTS)) for _ in range(2 + self._random.below(3))]
            lettered = [f"({letter}) {point};" for letter, point in zip("abcdefgh", points, strict=False)]
            sentences[-1] = sentences[-1].removesuffix(".") + ", and in particular:\n" + "\n".join(lettered)
        return " ".join(sentences)

    def _closing(self) -> str:
        number = len(self._articles) + 1
        day = self._random.choice(("twentieth", "third", "seventh"))
        force = f"This {self._kind.capitalize()} shall enter into force on the {day} day following that of its"
        end = f"{force} publication in the Official Journal of the European Union."
        return f"Article {number}\nEntry into force\n{end}\n\nDone at Brussels, {self._date()}.\nThe President"

    def _annex(self) -> str:
        heading = self._fill("ANNEX\nCodes referred to in {earlier}\nCode | Description | Rate (%)")
        code = 100 + self._random.below(8_800)
        rows = []
        for _ in range(4 + self._random.below(16)):
            code += 1 + self._random.below(9)
            rate = f"{self._random.below(30)}.{self._random.below(10)}"
            rows.append(self._fill(f"{code:04d} {10 * self._random.below(10):02d} | {{adjective}} {{noun}} | {rate}"))
        return "\n".join([heading, *rows])

    def _fill(self, template: str) -> str:
        return _SLOT.sub(lambda slot: _SLOTS[slot[1]](self), template)

    def _noun(self) -> str:
        return self._random.weighted(self._words.nouns, self._words.noun_weights)

    def _adjective(self) -> str:
        return self._random.weighted(self._words.adjectives, self._words.adjective_weights)

    def _verb(self) -> str:
        return self._random.weighted(self._words.verbs, self._words.verb_weights)

    def _term(self) -> str:
        return self._random.choice(self._terms)

    def _earlier(self) -> str:
        """Refer to a paragraph that an earlier article of this act has."""
        article = self._random.below(len(self._articles))
        paragraphs = self._articles[article]
        if paragraphs == 1:
            return f"Article {article + 1}"
        return f"Article {article + 1}({1 + self._random.below(paragraphs)})"

    def _act(self) -> str:
        return f"{1 + self._random.below(2_999)}/{1990 + self._random.below(30)}"

    def _date(self) -> str:
        year = 1990 + self._random.below(30)
        return f"{1 + self._random.below(28)} {self._random.choice(MONTHS)} {year}"


_SLOTS: dict[str, Callable[[Act], str]] = {
    "noun": Act._noun,
    "adjective": Act._adjective,
    "verb": Act._verb,
    "term": Act._term,
    "earlier": Act._earlier,
    "act": Act._act,
    "date": Act._date,
    "KIND": lambda act: act._random.choice(KINDS).capitalize(),
    "Kind": lambda act: act._kind.capitalize(),
    "amount": lambda act: f"{1 + act._random.below(99)} {100 * act._random.below(10):03d} 000",
    "few": lambda act: str(2 + act._random.below(11)),
    "small": lambda act: str(1 + act._random.below(99)),
}

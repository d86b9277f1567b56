"""Presidio: its pattern recognisers, scores from 0.4; no language model, so no names of people.

Run by bench/protection.py with an interpreter that has it installed; see protection_peer.py.
"""

from collections.abc import Iterator
from typing import Any

import spacy
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine
from protection_peer import Found, serve


class Blank(NlpEngine):
    """Tokens only."""

    def __init__(self) -> None:
        self._language = spacy.blank("en")

    def load(self) -> None:
        pass

    def is_loaded(self) -> bool:
        return True

    def process_text(self, text: str, language: str) -> NlpArtifacts:
        words = self._language(text)
        lemmas = [word.text.lower() for word in words]
        return NlpArtifacts([], words, [word.idx for word in words], lemmas, self, language)

    def process_batch(self, texts: Any, language: str, **_: Any) -> Iterator[tuple[str, NlpArtifacts]]:
        for text in texts:
            yield text, self.process_text(text, language)

    def is_stopword(self, word: str, language: str) -> bool:  # noqa: ARG002 - the base class's signature
        return self._language.vocab[word].is_stop

    def is_punct(self, word: str, language: str) -> bool:  # noqa: ARG002 - the base class's signature
        return self._language.vocab[word].is_punct

    def get_supported_entities(self) -> list[str]:
        return []

    def get_supported_languages(self) -> list[str]:
        return ["en"]


blank = Blank()
registry = RecognizerRegistry()
registry.load_predefined_recognizers(nlp_engine=blank, languages=["en"])
registry.recognizers = [each for each in registry.recognizers if "Spacy" not in type(each).__name__]
engine = AnalyzerEngine(registry=registry, nlp_engine=blank, supported_languages=["en"])


def scan(texts: list[str]) -> list[Found]:
    return [
        [(each.start, each.end, each.entity_type) for each in engine.analyze(text, "en", score_threshold=0.4)]
        for text in texts
    ]


if __name__ == "__main__":
    serve("presidio-analyzer", scan)

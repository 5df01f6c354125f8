"""Translation of appearance: renders that look like photographs and keep their labels.

    translator = method_of("color").fit(renders, photographs, seed=0, settings={})
    translated = translator.apply(image)

`docs/translation.md` compares the methods.
"""

from trainer.translation.guidance import UNKNOWN, Buffers
from trainer.translation.methods import METHODS, method_of, open_translator
from trainer.translation.translator import Origin, Renders, Translator

__all__ = ["METHODS", "UNKNOWN", "Buffers", "Origin", "Renders", "Translator", "method_of", "open_translator"]

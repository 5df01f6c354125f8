"""The parts that all of the grammar language is made of: sections, single values and distributions."""

from typing import Annotated, Any, ClassVar

from pydantic import (
    AllowInfNan,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    Strict,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

Number = Annotated[float, Strict(), AllowInfNan(False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Probability = Annotated[Number, Field(ge=0, le=1)]
Whole = Annotated[int, Strict(), Field(ge=0)]
Count = Annotated[int, Strict(), Field(ge=1)]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(min_length=1)]
Color = tuple[NotNegative, NotNegative, NotNegative]
Range = tuple[Number, Number]
#: Numbers and names are keys alike: labels of digits are numbers, those of folders are names.
Weights = dict[str | int | float, Probability]

#: The keys that hold a distribution.
DISTRIBUTIONS = (
    "constant",
    "uniform",
    "normal",
    "truncated_normal",
    "wrapped_normal",
    "von_mises",
    "categorical",
    "integers",
    "poisson",
    "mixture",
)


class Section(BaseModel):
    """A mapping in the file. Unknown keys are errors that carry the known ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    #: The key that a value is a shorthand for if it is not a mapping.
    shorthand: ClassVar[str | None] = None

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, data: Any) -> Any:
        if cls.shorthand is not None and not isinstance(data, dict | Section):
            data = {cls.shorthand: data}
        if isinstance(data, dict):
            known = {field.alias or name for name, field in cls.model_fields.items()}
            for key in data:
                if key not in known:
                    raise PydanticCustomError("unknown_key", "unknown key", {"key": key, "known": cls.known_keys()})
                if data[key] is None:  # An empty value would else count as a key left out.
                    raise PydanticCustomError("empty", "empty", {"key": key})
        return data

    @classmethod
    def known_keys(cls) -> list[str]:
        """The keys that the section knows, in the order of the documentation."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        whole = handler(schema)
        if cls.shorthand is None:
            return whole
        resolved = handler.resolve_ref_schema(whole)
        short = dict(resolved["properties"][cls.shorthand])
        for key in ("default", "description", "title"):
            short.pop(key, None)
        resolved_copy = dict(resolved)
        resolved.clear()
        resolved.update({"description": resolved_copy.pop("description", ""), "anyOf": [short, resolved_copy]})
        return whole


class DistributionSection(Section):
    """Exactly one of these keys."""

    constant: Number | None = Field(None, description="always this value; a bare number is short for it")
    uniform: Range | None = Field(None, description="[low, high]")
    normal: tuple[Number, Positive] | None = Field(
        None, description="[mean, sigma]; wrapped on the circle, cut off at the ends of a range"
    )
    truncated_normal: tuple[Number, Positive, Number, Number] | None = Field(
        None, description="[mean, sigma, low, high]: a normal on the condition that it lies between low and high"
    )
    wrapped_normal: tuple[Number, Positive] | None = Field(
        None, description="[mean, sigma] in degrees; for angles whose range is the whole circle"
    )
    von_mises: tuple[Number, Positive] | None = Field(
        None, description="[mean in degrees, kappa]; for angles whose range is the whole circle"
    )
    categorical: list[Number] | dict[Number, Probability] | None = Field(
        None, description="a list of equally likely numbers, or {number: probability}"
    )
    integers: tuple[Annotated[int, Strict()], Annotated[int, Strict()]] | None = Field(
        None, description="[low, high]: whole numbers, both ends included, equally likely"
    )
    poisson: tuple[Positive, Count] | None = Field(
        None, description="[rate, most]: Poisson on the condition that it is at most `most`"
    )
    mixture: list["Component"] | None = Field(None, description="a list of distributions, each with a `weight`")

    @model_validator(mode="after")
    def _one_distribution(self) -> "DistributionSection":
        given = [name for name in DISTRIBUTIONS if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"{len(given)} distributions ({', '.join(given)}) are" if given else "no distribution is"
            raise PydanticCustomError(
                "distribution", f"{found} given; exactly one is needed of: {', '.join(DISTRIBUTIONS)}", {"bare": True}
            )
        return self


class Component(DistributionSection):
    """A part of a mixture."""

    weight: Probability = Field(description="probability of this part; all of them sum to 1")


class AttributeSection(DistributionSection):
    """A number of a node, drawn for each node."""

    shorthand = "constant"

    mutable: Flag = Field(False, description="whether training may change it")
    range: Range | None = Field(None, description="[low, high], inclusive; default: see the table of attributes")
    step: Positive | None = Field(None, description="step of the probe to each side; default: about half a pixel")


class CountSection(DistributionSection):
    """A number of nodes; a number is short for a constant."""

    shorthand = "constant"

    mutable: Flag = Field(False, description="whether training may change the probabilities of the numbers")


class NumberSection(DistributionSection):
    """A number that shapes the scene; a number is short for a constant."""

    shorthand = "constant"


DistributionSection.model_rebuild()
Component.model_rebuild()

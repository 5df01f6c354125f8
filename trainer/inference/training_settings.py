"""Settings of a training run: the `training` section of an experiment. The defaults suit all experiments."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainer.errors import InputError
from trainer.grammar.document import nearest
from trainer.rendering.probing import Probing


class Stage(BaseModel):
    """A part of the training: which losses run, and which attributes join (paper, sections 3.2 and 4.3)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field("", description="In reports; default: its losses.")
    losses: list[Literal["mmd", "task"]] = Field(
        ["mmd"], min_length=1, description="mmd: the distance of distributions; task: the task network's score."
    )
    attributes: list[str] = Field(
        ["*"], min_length=1, description="KIND.NAME of what is learned from this stage on; * stands for anything."
    )
    epochs: int | None = Field(None, ge=1, description="Default: training.epochs.")

    @property
    def title(self) -> str:
        """Return the name of the stage, or its losses."""
        return self.name or " + ".join(self.losses)


class Frames(BaseModel):
    """Size and samples of the frames that are rendered while a run learns."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    width: int | None = Field(None, ge=1, description="Pixels; default: as the grammar's `render` says.")
    height: int | None = Field(None, ge=1, description="The same.")
    samples: int | None = Field(None, ge=1, description="Per pixel; the same.")

    @property
    def overrides(self) -> dict[str, object]:
        """Return the overrides of the grammar that set these values."""
        return {f"render.{key}": value for key, value in self.model_dump(exclude_none=True).items()}


class InferenceSettings(BaseModel):
    """The rounds in which the population is inferred."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rounds: int = Field(
        3, ge=1, description="Most rounds of simulation, training of the estimator, and inference; fewer if it stays."
    )
    simulations: int = Field(3000, ge=64, description="Renders of each round.")
    epochs: list[int] = Field(
        [12, 4, 3],
        min_length=1,
        description="Passes of each round over all renders so far, of 3,000; the last holds for later rounds.",
    )
    transport_passes: int = Field(
        25, ge=1, description="Passes in which G_θ learns to carry the prior to the population."
    )
    context: bool = Field(
        True, description="The population depends on the context: class, assets, parent. false: an ablation."
    )
    widening: float = Field(1.6, ge=1, description="A proposal's standard deviations over the population's.")
    least_width: float = Field(0.02, gt=0, description="Least standard deviation of a proposal, as a part of a range.")
    together: bool = Field(
        False, description="Several kinds that stand once in every scene are read off the image together, not detected."
    )
    background: float = Field(0.1, gt=0, lt=1, description="Part of a proposal that is uniform over the ranges.")


class TrainingSettings(BaseModel):
    """What `metasim train` takes as `training.KEY=VALUE`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    stages: list[Stage] = Field(
        [Stage.model_validate({})], min_length=1, description="One after the other; see `Stage`."
    )
    epochs: int = Field(8, ge=1, description="Epochs of a stage that does not say its own.")
    steps: int = Field(15, ge=1, description="Steps of gradient descent in an epoch.")
    batch: int = Field(64, ge=2, description="Scenes rendered in a step.")
    learning_rate: float = Field(3e-3, gt=0, description="Of Adam, at the start of a stage; it falls along a cosine.")
    render: Frames = Field(
        Frames.model_validate({}),
        description="Other frames to learn from than the grammar's own, which are for data sets; see `Frames`.",
    )
    target_images: int | None = Field(None, ge=2, description="Images of the target that are used; default: all.")
    features: Literal["auto", "estimator", "natural", "inception", "random"] = Field(
        "auto",
        description="Space in which images are compared. estimator: what the inference reads off images; natural: "
        "EfficientNet-Lite0; inception: InceptionV3; random: an untrained network; auto: inception with "
        "--inception-weights, else estimator, or natural with start=prior.",
    )
    layers: list[str] = Field(["pool1", "pool2"], min_length=1, description="Of InceptionV3, where that is the space.")
    pretraining_steps: int = Field(400, ge=0, description="Steps in which G_θ learns the identity.")
    inference: InferenceSettings = Field(
        InferenceSettings.model_validate({}), description="Of the population; see `InferenceSettings`."
    )
    start: Literal["infer", "prior"] = Field(
        "infer",
        description="Where descent starts. infer: at the population that is inferred from the target; prior: at the "
        "grammar's own distributions, as in the paper.",
    )
    choice_renders: int = Field(
        12,
        ge=0,
        description="Other categories of a scene up to which all are rendered; beyond, the score function is used.",
    )
    task_images: int | None = Field(
        None, ge=2, description="Images of each dataset that is scored; default: the task network's own number."
    )
    validation_images: int = Field(500, ge=2, description="Labelled images of the target on which it is scored: V.")
    task_pairs: int = Field(2, ge=1, description="Pairs of datasets that are scored in a step.")
    task_sigma: float = Field(0.03, gt=0, description="Spread of what is tried, as a fraction of an attribute's range.")
    task_weight: float = Field(1.0, gt=0, description="Of the task loss, beside the MMD.")
    threads: int = Field(1, ge=1, description="Threads of PyTorch; part of what the numbers depend on.")
    monitor_scenes: int = Field(512, ge=2, description="Scenes whose attributes are recorded after each epoch.")
    monitor_images: int = Field(256, ge=0, description="How many of them are rendered, for MMD² and KID; 0: none.")

    probing: Probing = Field(Probing(), description="How the renderer's derivative is estimated; see `Probing`.")

    def epochs_of(self, stage: int) -> int:
        """Return the epochs of a stage."""
        return self.stages[stage].epochs or self.epochs

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> "TrainingSettings":
        """Return the checked settings of an experiment's `training` section.

        Raises:
            InputError: a key is unknown or a value is wrong; the message is one line.
        """
        for key in values:
            if key not in cls.model_fields:
                raise InputError(f"training.{key}: unknown key; {nearest(key, cls.model_fields)}")
        given = dict(values)
        if "probing" in given:
            given["probing"] = Probing.parse(given["probing"], "training.probing")
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InputError(f"training.{place} is {first['input']!r}: {first['msg'].lower()}") from None

"""Settings of a training run: an experiment's `training` section, with defaults that suit all experiments alike."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainer.errors import InputError
from trainer.grammar.document import nearest
from trainer.rendering.probing import Probing


class TrainingSettings(BaseModel):
    """What `metasim train` takes as `training.KEY=VALUE`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    epochs: int = Field(8, ge=1, description="Epochs of distribution matching.")
    steps: int = Field(15, ge=1, description="Steps of gradient descent in an epoch.")
    batch: int = Field(64, ge=2, description="Scenes rendered in a step.")
    learning_rate: float = Field(3e-3, gt=0, description="Of Adam, at the start; it falls along a cosine.")
    target_images: int | None = Field(None, ge=2, description="Images of the target that are used; default: all.")
    features: Literal["auto", "simulator", "inception"] = Field(
        "auto", description="Space in which images are compared; auto: inception if its weights are at hand."
    )
    feature_images: int = Field(4000, ge=64, description="Renders that the simulator's features learn from.")
    feature_epochs: int = Field(6, ge=1, description="Epochs of that training.")
    pretraining_steps: int = Field(400, ge=0, description="Steps in which G_θ learns the identity.")
    search_first: int = Field(
        64, ge=0, description="Shifts that the global stage tries over the whole ranges; 0: none."
    )
    search_later: int = Field(32, ge=1, description="Shifts in each generation that refines them.")
    search_generations: int = Field(5, ge=0, description="Generations of refinement.")
    search_scenes: int = Field(64, ge=2, description="Scenes rendered for each shift.")
    threads: int = Field(1, ge=1, description="Threads of PyTorch; part of what the numbers depend on.")
    valley_images: int = Field(1500, ge=64, description="Renders of each valley from which they are told apart.")
    monitor_scenes: int = Field(512, ge=2, description="Scenes whose attributes are recorded after each epoch.")

    probing: Probing = Field(Probing(), description="How the renderer's derivative is estimated; see `Probing`.")

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> "TrainingSettings":
        """Checks the `training` section of an experiment.

        Raises:
            InputError: a key is unknown or a value is wrong; one line.
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
            raise InputError(f"training.{first['loc'][0]} is {first['input']!r}: {first['msg'].lower()}") from None

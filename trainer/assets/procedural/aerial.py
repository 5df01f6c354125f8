"""The families of textures of aerial views (paper section 4.2): 600 cars, 40 trees, 20 houses, 7 grasses, 4 roads."""

from trainer.assets.procedural import Family
from trainer.assets.procedural.aerial_cars import car
from trainer.assets.procedural.aerial_land import grass, house, tree
from trainer.assets.procedural.aerial_roads import road

CARS = Family(600, car)
TREES = Family(40, tree)
HOUSES = Family(20, house)
GRASSES = Family(7, grass)
ROADS = Family(4, road)

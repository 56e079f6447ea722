"""The points a sweep covers, as frozen sequences that are never expanded."""

from pipeline_queue.space.axes import Axis, Linspace, Logspace, Range, Values
from pipeline_queue.space.draws import Choice, Draw, LogUniform, Uniform, WholeNumber
from pipeline_queue.space.exclusion import Exclusion, TooManyExclusionsError
from pipeline_queue.space.factors import Columns, Factor, Random
from pipeline_queue.space.json_form import space_from_json
from pipeline_queue.space.points import Point, Points, Space
from pipeline_queue.space.product import Product

__all__ = [
    "Axis",
    "Choice",
    "Columns",
    "Draw",
    "Exclusion",
    "Factor",
    "Linspace",
    "LogUniform",
    "Logspace",
    "Point",
    "Points",
    "Product",
    "Random",
    "Range",
    "Space",
    "TooManyExclusionsError",
    "Uniform",
    "Values",
    "WholeNumber",
    "space_from_json",
]

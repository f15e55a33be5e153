from .browsing.notebook import Tracks as Tracks
from .browsing.notebook import open_tracks as open_tracks
from .evaluation.evaluate import evaluate as evaluate
from .inputs.annotation import read_annotation as read_annotation
from .inputs.usage import read_usage as read_usage
from .tracks.run import plan as plan
from .tracks.run import run as run
from .tracks.settings import RunConfig as RunConfig
from .variants.reader import Variants as Variants
from .variants.reader import open_variants as open_variants
from .variants.run import score_variants as score_variants
from .variants.settings import SaturateConfig as SaturateConfig
from .variants.settings import VariantsConfig as VariantsConfig
from .views.gene_view import gene_view as gene_view

__version__: str

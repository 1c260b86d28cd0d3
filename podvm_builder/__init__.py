"""Build confidential PodVM images and predict, before any boot, what hardware will measure.

The public library is re-exported here lazily, so that importing the package costs nothing.
"""

__version__ = "0.1.0"

"""For all tests: a property holds or not, however long a busy machine takes to show it."""

from hypothesis import settings

settings.register_profile("tailrace", deadline=None)
settings.load_profile("tailrace")

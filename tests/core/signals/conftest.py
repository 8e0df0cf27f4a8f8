from tests.core.signals.redises import bell_redis

__all__ = ["bell_redis"]

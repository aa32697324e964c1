"""Leave a service mesh safely, verified and reversibly, and practise it before the night you need it."""

__version__ = "0.1.0"

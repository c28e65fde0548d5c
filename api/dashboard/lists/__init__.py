"""Lists of suppliers: whom they show, in which order, what agents do with a selection, views they keep."""

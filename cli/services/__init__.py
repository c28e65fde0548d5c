"""Commands that run as services: worker, deliver, api, shadow."""

"""Delivery, measured."""

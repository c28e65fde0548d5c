"""A simulated population: who they are, how they use the product, and the events and profiles they leave."""

"""What mail providers report, each in its own way: verified as it documents, and read into one model."""

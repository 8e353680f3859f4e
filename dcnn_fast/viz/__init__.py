"""Pictures and pages made from scores."""

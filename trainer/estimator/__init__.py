"""A scikit-learn classifier around the trainer."""

"""One training loop whose schedules are functions of the fraction of the budget spent."""

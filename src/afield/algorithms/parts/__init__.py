"""What several training algorithms share: networks, penalties, and steps of gradient descent."""

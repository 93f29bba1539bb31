"""Full fine-tuning: every parameter of the model, from the values it has."""

value = None


def adapt(model, name):
    return model


def save(model, folder):
    """There is no adapter to save."""

"""The kinds of objects that the examples' tasks lock."""

from natsume import register_locked_object_type

OWNER = register_locked_object_type("owner")
COMPUTE_ELEMENT = register_locked_object_type("compute_element")

"""The image models as data: names, input schemas, defaults, availability. README.md has the map."""

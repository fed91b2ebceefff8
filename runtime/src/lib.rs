//! Runtime: leads a container through its life. Not its job: images, flags, words for people.

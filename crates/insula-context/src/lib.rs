//! Who is asking, in which conversation and run, until when: the scope and context that everything else requires.

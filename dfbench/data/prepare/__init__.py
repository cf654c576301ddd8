"""From the videos of a public data set to face crops, as a Hugging Face ``datasets`` set on disk.

==============  ==================================================================
``item``        one video of a data set, as its reader describes it
``sources``     the readers: what lies in a data set's tree
``options``     what a user may choose, and what makes two runs the same
``plan``        items that share their boxes (a real and its aligned fakes), split into shards
``media``       what videos, folders of frames and pictures have in common: numbered frames
``decoding``    a video's frames by number, with as little decoded as possible
``stills``      the frames of a folder, or one picture
``faces``       the face detectors
``tracks``      faces joined over time, and which of them was forged
``crops``       square crops with a margin, as JPEGs
``extract``     one group of items to the rows of each
``jobs``        what a worker process does with a group; ``crew``: the processes
``shards``      rows as Arrow files that ``datasets`` opens
``run``         the whole set: what is left to do, resuming, the end; ``report``: a line per video
``opening``     from the command line to items and options
==============  ==================================================================
"""

"""SpliceAI's family: networks as their authors published them, made into checkpoints of ours.

In: files, folders, wheels or hub ids of SpliceAI, CI-SpliceAI, OpenSpliceAI and Pangolin. Out: a `Checkpoint` without
attention, of one or several members. No code in a file is ever run, and neither TensorFlow nor Keras is needed. Faults
are an `InputError` that names the file and the tensor or layer.

The modules, each of which uses those before it:

- `network`: one network by our names, and the tensors of several;
- `layers`: the network that a graph of layers is;
- `keras_file`, `wire` and `frozen_graph`: graphs in Keras' files and in TensorFlow's;
- `state_dicts`: names of OpenSpliceAI's and Pangolin's tensors;
- `ports`: MultiMolecule's;
- `files`: where the files are;
- `convert`: all together.
"""

"""Readers' questions on how features form, and on the way down to pixels. No JAX."""

from __future__ import annotations

from zfjax.studies.question_parts import OUT, REPORT, Question

LEARNING = (
    Question(
        "0f",
        "Who told the network to look for edges first and for parts later?",
        "Nobody: it begins with random filters and follows the error down. The slider of the page"
        " begins at epoch 0 with the random filters, so that their change can be watched.",
        ("fig4-order",),
        link=REPORT,
    ),
    Question(
        "0a",
        "Depth is said to put simple functions together to complex ones. Do layers learn so?",
        "An opened map on the page names the maps of the layer below that feed its strongest unit"
        " most, by weight times activation, each with its picture. What it costs to leave layers"
        " out is an ablation.",
        ("table3-without-conv3-conv4-top1",),
        link=REPORT,
    ),
    Question(
        "1c",
        "Is the first layer like what the visual cortex begins with: edges and colours?",
        "Its filters are on the page. How directed they are, how much of colour they pass, and how"
        " evenly they cover frequencies and directions are numbers for every epoch.",
        (),
        ("spectrum",),
        link=REPORT,
    ),
    Question(
        "0e",
        "If the first filters are gradients in a few directions, is much lost there already?",
        "Filters are learnt and not set, and their coverage of frequencies and directions is"
        " measured. What is lost is seen by classifying from each layer's features alone: where"
        " accuracy grows with depth, no layer below had thrown away what the next one uses.",
        ("table7-depth",),
        ("spectrum",),
    ),
    Question(
        "4l",
        "Lower layers are said to settle in a few epochs. Is that so for other networks?",
        "It is asked here by three kinds of evidence that have to agree, of any network whose"
        " checkpoints are at hand. One run says little: its images can be resampled, its seed"
        " cannot.",
        ("fig4-order", "fig4-lower", "fig4-upper"),
        ("settling",),
        "zfjax measure --workdir RUN settling --seeds-of RUN2 RUN3",
    ),
    Question(
        "3a",
        "What does the paper find, in short?",
        "A way to see what units respond to, and five findings: how features form, what they bear,"
        " what they need of the image, that parts correspond, and that a better first layer"
        " classifies better. Each is a row with a number and a verdict.",
        ("fig4-order", "fig5-translation", "fig7-object", "table1-features"),
    ),
    Question(
        "0b",
        "Do the training images have to be varied for a pattern to be seen at all?",
        "A network can only learn what its images show. To try it, train on fewer of them or of"
        " fewer classes, imported as a data set of its own, and compare the two runs' maps.",
        command="zfjax compare RUN RUN2",
    ),
    Question(
        "0c",
        "Would so deep a network fit a small data set by heart? Who chooses the depth?",
        "It may: the gap between training and validation accuracy says how much. Depth and widths"
        " are chosen by trying; a grid trains the choices with several seeds and gives each"
        " difference with an interval.",
        ("table3-fc6-fc7-twice-top1",),
        command="zfjax ablate --workdir DIR --preset demo --seeds 3 --grid layers",
    ),
    Question(
        "1i",
        "What do dead filters and the limit on the filters' strength have to do with each other?",
        "A filter that grows without limit can dominate the layer, and others starve. The paper"
        " sets back each filter above a fixed strength (the recipe faithful, or rms_clip). Dead,"
        " dominant and doubled maps are counted at every epoch.",
        ("fig6-clipping",),
        ("census",),
        "zfjax ablate --workdir DIR --preset demo --seeds 3 --grid clip",
    ),
    Question(
        "3b",
        "Why should smaller filters and a smaller stride be better? The argument is by eye.",
        "It can be a number: how evenly the filters cover frequencies, how much of what they pass"
        " is above what the stride can carry, how many maps are dead, and the accuracy, for size"
        " and stride apart.",
        (
            "fig6-stem-7-stride-2-against-stem-11-stride-4-top1",
            "fig6-stem-7-stride-2-against-stem-11-stride-4-coverage",
            "fig6-stem-7-stride-2-against-stem-7-stride-4-aliasing",
        ),
        ("spectrum",),
        "zfjax ablate --workdir DIR --preset demo --seeds 3 --grid stems",
    ),
    Question(
        "3c",
        "Why would leaving out layer 7 lower the error, and on training images too?",
        "In the paper's Table 3 it lowers top-1 a little and raises top-5, in a single run: within"
        " what another seed may do. On training images the network without it is regularised less:"
        " one layer with dropout fewer. Several seeds and an interval decide.",
        ("table3-without-fc7-top1",),
        command="zfjax ablate --workdir DIR --preset demo --seeds 5 --drop fc7",
    ),
    Question(
        "2h",
        "A network turns a million numbers into one answer. Are its float matrices of any use?",
        "As numbers to read, little. They are saved for every epoch in full, the first layer's as"
        " pictures, and every layer's filters can be taken to pixels without an image.",
        (),
        ("weights",),
    ),
)

DOWN = (
    Question(
        "1a",
        "Deconvolutional networks were once trained to rebuild images. Is this one trained?",
        "No. Nothing is learnt on the way down: it uses the network's own filters, transposed, and"
        " the switches of the image at hand.",
        ("fig1-switches",),
        link="#steps",
    ),
    Question(
        "1b",
        "A pool keeps only the strongest value. How is it undone?",
        "By a switch: where in its window the strongest value stood. On the way down the value goes"
        " back to that place and all others are zero. Without the image's own switches it is"
        " another picture.",
        ("fig1-switches",),
        ("controls",),
        link="#steps",
    ),
    Question(
        "4i",
        "If the way cannot be undone and needs an image, what is one unit's way in full?",
        "Choose one unit, set all others of its layer to zero, and go down: unpool, rectify,"
        " filter, layer by layer. Below, every map on this way is drawn for a unit of this run.",
        link="#steps",
    ),
    Question(
        "2g",
        "Can one follow a single number down, with its size at each step?",
        "Yes: the same drawing gives the size of the signal after each operation, and what share of"
        " it rectification took away.",
        link="#steps",
    ),
    Question(
        "4a",
        "What are the mathematics of projecting the second, third and later layers' weights to the"
        " image?",
        "The derivation is below, without an image (linear, pools left out) and with one"
        " (switches). The measure weights draws the former, the evolution the latter.",
        (),
        ("weights",),
        link="#derivation",
    ),
    Question(
        "4b",
        "Is there a script that shows more than weights, for a network of one's own?",
        "One command, for Linen, NNX and Equinox modules or any JAX function, and for weights from"
        " torch.",
        command="zfjax evolve --model mynets.py:build --checkpoints ROOT --data.name photos"
        " --workdir OUT",
    ),
    Question(
        "4c",
        "Why rectify on the way down? The inverse of a ReLU would be the identity. Why should"
        " projections not be negative?",
        "It is a choice, not an inverse: the paper wants what comes down to be a map such as the"
        " network makes, which is never negative. The last step is not rectified, so pixels are"
        " signed. What the rule takes away here, and how other rules differ, is below.",
        link="#rules",
    ),
    Question(
        "4d",
        "The transpose of a filter is its inverse for orthogonal matrices only. Is it one here?",
        "No, and how far from one is measured: on the patches that the layer sees, and on white"
        " noise.",
        (),
        ("inverse", "weights"),
        link="#inverse",
    ),
    Question(
        "4e",
        "Are small kernels with one nonzero input not nearly orthogonal?",
        "For a single unit that is on, what comes down is its filter, scaled: exact, whatever the"
        " others are. From the second layer on many units are on at once, their filters overlap,"
        " and the numbers below say how far that is from an inverse.",
        (),
        ("inverse",),
        link="#inverse",
    ),
    Question(
        "4f",
        "Would it work with tanh and its inverse?",
        "Networks with tanh, GELU and others are looked at: what comes down is rectified as with a"
        " ReLU by the rules deconvnet and guided, and differentiated by gradient. An inverse of"
        " tanh is not used: it blows up near 1. What has no rule is named and refused.",
        command="zfjax info --model mynets.py:build",
    ),
    Question(
        "4g",
        "If a filter is transposed, does a vertical edge detector not become a horizontal one?",
        "No: what is transposed is the whole map from image to features, not the small matrix. The"
        " kernel is turned by 180 degrees and its inputs and outputs trade places; a vertical edge"
        " stays vertical. The numbers are below.",
        link="#vertical",
    ),
    Question(
        "4m",
        "What of speech: tricks of augmentation, and identity apart from pose?",
        OUT + "zfjax looks at images. A network on spectrograms taken as images can be adopted like"
        " any other.",
    ),
)

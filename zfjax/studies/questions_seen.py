"""Readers' questions on the pictures, and on what features bear and serve for. No JAX."""

from __future__ import annotations

from zfjax.studies.question_parts import OUT, REPORT, Question

PICTURES = (
    Question(
        "2a",
        "Are the nine strongest images of a map the strongest of the whole data set, and is each of"
        " them another image?",
        "Yes, of the split that was searched, whole: an image counts once for a map, at the place"
        " where it excites the map most. Every patch can be traced: its split, image, place and"
        " value stand in the table below, and in units.parquet for every map and epoch.",
        link="#provenance",
    ),
    Question(
        "4h",
        "How were the pictures of Fig. 2 made, and from training or validation images?",
        "Each is one unit's activation sent down to pixels: of a map's nine strongest images the"
        " paper takes those of the validation set in Fig. 2 and those of the training set in"
        " Fig. 4. They are no samples that the network draws up; without an image there is none."
        " zfjax searches the training split unless --split names another, and says which.",
        command="zfjax evolve --workdir RUN --split validation --name validation",
        link="#provenance",
    ),
    Question(
        "2c",
        "Is the patch what the network has learnt, or is the grey picture?",
        "Neither alone. The patch is a cut of the raw image, as large as what the unit sees. The"
        " grey picture is the projection: what of that patch comes back when the unit alone is"
        " switched on. What is learnt are the filters.",
        ("fig2-unit",),
        ("controls",),
        link="#glossary",
    ),
    Question(
        "2d",
        "What is an image patch, and what does it mean that it excites a unit most?",
        "A unit is one cell of one map: a filter at one place. It sees a window of the image, and"
        " that window is the patch. Of all images and places, the patch with the largest value is"
        " the one that excites the map most. The words are in the glossary.",
        link="#glossary",
    ),
    Question(
        "0g",
        "Is the grey picture the kernel, and the coloured one the result of the convolution?",
        "No. Four things are apart: the kernel (weights, no image), the map (numbers, one for each"
        " place), the projection (what comes down from one unit, grey where it is zero), and the"
        " patch (pixels as they are). All four are on the page of the run.",
        link=REPORT,
    ),
    Question(
        "0h",
        "Why do the grey pictures of layer 3 look like parts of the image?",
        "Because the way down uses the image: the switches say where in each pool the strongest"
        " value stood, so edges come back where they were, whatever unit is asked. How much of a"
        " picture would be the same for another unit is measured, beside pictures drawn with"
        " another image's switches and with filters before training.",
        ("fig1-switches", "fig2-unit"),
        ("controls",),
    ),
    Question(
        "0i",
        "Do grey pictures show which pixels made the response?",
        "That is the claim, and it can be tried: cover a part of the image, and see whether the"
        " unit falls where its projection is strong, more than where another unit's is.",
        ("fig7-projection",),
        ("occlusion",),
    ),
    Question(
        "0j",
        "Nine strongest images flatter a map. What of the many that excite it weakly?",
        "The page draws them too: the weakest that excite a map at all, typical ones, and any"
        " quantile between, beside a histogram of all images' answers.",
        command="zfjax evolve --workdir RUN --selections top low quantile:0.5 quantile:0.9",
        link=REPORT,
    ),
    Question(
        "1d",
        "Among weak responses the groups look harder to name. Do they?",
        "The selections low and quantile show them with the class of each image; how pure the"
        " strongest nine are, beside what chance gives, is measured.",
        ("fig2-grouping",),
        ("labels",),
        "zfjax evolve --workdir RUN --selections top low quantile:0.5",
    ),
    Question(
        "0k",
        "Is it usual to show the best responses? What would a pessimist show?",
        "It is usual, and it flatters. A pessimist shows a seeded draw of maps instead of chosen"
        " ones (as every picture here), dead maps as dead, weak images beside strong ones, and how"
        " many maps are about nothing that nine images can show.",
        ("fig2-grouping",),
        ("labels", "census"),
    ),
    Question(
        "2b",
        "A deep unit is computed from all pixels. Why is its picture a part of the image?",
        "A convolution sees a window, and the window of a layer above is larger by what its own"
        " filter spans. Until that window covers the image, a unit sees a part of it; the window"
        " is drawn to scale at every layer of the page, and listed by zfjax info.",
        command="zfjax info --workdir RUN",
        link=REPORT,
    ),
    Question(
        "2f",
        "How much does each layer see?",
        "The table of zfjax info gives size, stride and window of each layer: 7, 27, 75, 107 and"
        " 139 pixels of 224 for the paper's five convolutions.",
        command="zfjax info --preset imagenet",
    ),
)

BEARING = (
    Question(
        "1f",
        "A map still fires when the pose differs. How far?",
        "Images are moved, scaled and turned, and each layer's features followed; distances are"
        " divided by those of random pairs of images, so that layers compare.",
        ("fig2-invariance", "fig5-translation", "fig5-scale"),
        ("invariance",),
    ),
    Question(
        "1g",
        "Do activations change when the image is moved, and is a covered face misclassified?",
        "Both are measured for every layer and saved epoch asked for.",
        ("fig5-translation", "fig7-object"),
        ("invariance", "occlusion"),
    ),
    Question(
        "3d",
        "What of rotation?",
        "The paper finds that the output does not bear it, but for objects that look alike from"
        " all sides. The curve over the angle is drawn for every layer.",
        ("fig5-rotation", "fig5-output"),
        ("invariance",),
    ),
    Question(
        "4j",
        "Pools throw the place away. Should one not want features that move with the image"
        " (equivariance) instead of features that stay (invariance)?",
        "One may ask the network which it has: how far the place of a map's maximum follows a shift"
        " of the image (a code by place), and how much its value changes (a code by rate), layer"
        " by layer. Capsules and routing are other networks, which can be looked at as anyone's.",
        ("fig5-linear",),
        ("equivariance",),
    ),
    Question(
        "1h",
        "A text detector in layer 5, and a class whose probability rises when faces are covered?",
        "The strongest map need not be what the answer stands on. Occlusion draws both, the map's"
        " fall and the class's probability, with rises in another colour than falls, and the most"
        " probable class at each position of the square.",
        ("fig7-object",),
        ("occlusion",),
        "zfjax measure --workdir RUN occlusion --occlusion.image FILE",
    ),
    Question(
        "1e",
        "Are the things that excite one map related in meaning, such as faces, clouds or grass?",
        "The commonest class of a map's strongest images and its share are given, beside what"
        " shuffled labels give. A map about a texture or a colour that several classes share is"
        " about no class in this sense. Concepts beyond the data set's classes need labels of"
        " pixels, which zfjax does not ask for.",
        ("fig2-grouping", "fig2-classes"),
        ("labels",),
    ),
    Question(
        "2e",
        "Does a detector of vertical lines really answer to vertical lines and not to horizontal"
        " ones?",
        "It does, and no more than arithmetic is needed to see it: the demonstration below sends a"
        " vertical and a horizontal edge through one filter. Of the run's own filters the"
        " direction is measured.",
        (),
        ("spectrum",),
        link="#vertical",
    ),
    Question(
        "0d",
        "Can it recognise what it has never seen?",
        "Not by name: it has no output for it. Its features may serve all the same: they are"
        " frozen, and a new softmax is trained on classes that were not there.",
        ("table4-caltech101", "fig9-few"),
        command="zfjax transfer --workdir RUN --to NAME",
    ),
    Question(
        "1j",
        "Do the features serve for other data?",
        "In the paper very well. Here they are set against the same network trained from scratch,"
        " over folds, with the number of images a class as axis.",
        ("table4-caltech101", "table5-caltech256", "table6-voc"),
        command="zfjax transfer --workdir RUN --to NAME",
    ),
    Question(
        "4k",
        "Can a handful of labelled images be enough?",
        "The curve over the number of images a class says what the features give on few. The figure"
        " that is quoted for digits comes of another method and other data.",
        ("fig9-few",),
        command="zfjax transfer --workdir RUN --to NAME --images-per-class 1 5 15 30",
    ),
    Question(
        "1k",
        "Was it the data, the processors or the method that won in 2012? And what would a person"
        " get?",
        OUT + "no run can tell history's causes apart. What a run has cost and reached stands in"
        " its summary.json; Table 2 is on the page of statements. Nobody was asked to classify the"
        " images here.",
        ("table2-ensemble",),
    ),
)

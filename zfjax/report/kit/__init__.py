"""What pages are made of: a shell with its policy, and pieces to put into it. No JAX.

A page is a title and pieces, each HTML with the data, style and script that go with it::

    page = make_page(
        "Kernels of conv1",
        [
            curve_slider(epochs, [accuracy_of_base, accuracy_of_cell]),
            main_of(
                section("Accuracy", dot_chart(rows, scale, ("top-1", "top-5"))),
                section("Cells", data_table(columns, rows)),
                section("Filters", whole_film(film, "Filters of the base")),
                section("Loss", page_charts(charts, "loss")),
            ),
        ],
        facts=("3 seeds", "8 epochs"),
    )
    path.write_text(page, encoding="utf-8")

- ``shell``: ``make_page``, ``make_page_beside`` where one file is too large, ``main_of``,
  ``section``, ``Piece``, ``join_pieces``;
- ``slider``: ``curve_slider``, at most one a page: everything follows its stop;
- ``films``: ``whole_film``, a picture by stop, and ``film_strip``, ``film_now``, ``film_data``;
- ``tables``: ``data_table``; a cell may be a piece;
- ``dots``: ``dot_chart``, estimates and intervals; ``dot_cell`` and ``dot_axis`` within a table;
- ``charts``: ``page_charts``, lines over the epochs, and ``figure_files``, the same for a paper;
- ``vector``: ``svg_of``, any matplotlib figure;
- ``style``: ``quiet_style``, typography and colours of figures, and how wide words are;
- ``texts``: ``plain``, ``number``, ``percent``, ``epoch_name``, ``date``.

Texts are escaped by whatever takes a ``str``; only ``Markup`` is taken as HTML, and is made by
``Markup("...{}").format(text)`` or a template (``shell.templates``), never by joining strings.
The policy refuses ``style=`` and ``on...=`` in HTML: sizes that come from data go into a piece's
``sheets``, behaviour into its ``script``. A script finds its piece's values in ``data``, the stop
in ``state.at``, and adds to ``draws`` the function that shows them::

    draws.push(() => { byId("loss-now").textContent = number(data.loss[state.at]); });

Dark, print, 390 pixels, keyboard and the address after # are the kit's: a piece has them by using
its classes and colours (``parts/base.css``). All parts of the kit are on every page, 20 KB.
"""

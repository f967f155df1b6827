"""Images in: the drawn scenes, the importer of trees and tars, the pipeline that feeds training and
search.
"""

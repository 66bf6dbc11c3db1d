"""What the component exports: the rule in the types of the contract. A result's error is raised."""

import rule
from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.vod_source import Error_Invalid, Error_NotMine, Listing_Place, LocalFile, Plan_File


class VodSource(exports.VodSource):
    def open(self, context, request):
        try:
            path = rule.file(request.uri)
        except ValueError as error:
            raise Err(Error_Invalid(str(error))) from None
        if path is None:
            raise Err(Error_NotMine())
        return Plan_File(LocalFile(path=path))

    def stat(self, context, request):
        # The host looks where `open` points.
        self.open(context, request)
        return None

    def list(self, context, request):
        if request.uri != rule.SCHEME:
            raise Err(Error_NotMine())
        return Listing_Place(Plan_File(LocalFile(path="shows")))

    def read(self, context, range):
        # It is asked only about plans with bytes of the plugin's own.
        raise Err(Error_NotMine())

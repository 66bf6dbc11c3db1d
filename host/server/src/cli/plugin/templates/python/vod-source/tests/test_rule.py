import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

import rule


class Rule(unittest.TestCase):
    def test_a_show_is_a_file(self):
        self.assertEqual(rule.file("show://pilot-1"), "shows/pilot-1.mp4")
        self.assertIsNone(rule.file("vod://s3/bucket/key.mp4"))
        for name in ["", "../secret", "A"]:
            with self.assertRaises(ValueError):
                rule.file(f"show://{name}")


if __name__ == "__main__":
    unittest.main()

package com.example.app

import android.app.Activity
import android.content.Intent
import android.graphics.Bitmap
import android.os.Bundle
import android.view.View
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.view.ViewGroup.LayoutParams.WRAP_CONTENT
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.Spinner
import android.widget.TextView
import java.util.Locale
import java.util.concurrent.Executors

private const val BEST = 5
private const val TIMED_RUNS = 10

/** A picture in; what the model says of it and how long that took out. */
class MainActivity : Activity() {
    private val worker = Executors.newSingleThreadExecutor()
    private val labels by lazy { assets.open("labels.txt").bufferedReader().readLines() }
    private lateinit var seenView: ImageView
    private lateinit var said: TextView

    // Of the worker's thread alone.
    private var facts = FILES.first()
    private var model: Model? = null
    private var picture: Bitmap? = null

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        val pick = Button(this).apply {
            text = "Choose a picture"
            setOnClickListener { choosePicture() }
        }
        seenView = ImageView(this).apply {
            adjustViewBounds = true
            contentDescription = "What the model sees"
        }
        said = TextView(this).apply {
            textSize = 16f
            accessibilityLiveRegion = View.ACCESSIBILITY_LIVE_REGION_POLITE
        }
        val column = LinearLayout(this).apply {
            orientation = LinearLayout.VERTICAL
            val space = (16 * resources.displayMetrics.density).toInt()
            setPadding(space, space, space, space)
            listOf(pick, fileChooser(), seenView, said).forEach { addView(it, MATCH_PARENT, WRAP_CONTENT) }
        }
        setContentView(ScrollView(this).apply {
            fitsSystemWindows = true
            addView(column)
        })
    }

    override fun onDestroy() {
        worker.execute { model?.close() }
        worker.shutdown()
        super.onDestroy()
    }

    private fun fileChooser() = Spinner(this).apply {
        contentDescription = "File of the model"
        adapter = ArrayAdapter(context, android.R.layout.simple_spinner_dropdown_item, FILES.map { it.file })
        onItemSelectedListener = object : AdapterView.OnItemSelectedListener {
            override fun onItemSelected(parent: AdapterView<*>?, view: View?, position: Int, id: Long) = work {
                if (facts !== FILES[position]) {
                    facts = FILES[position]
                    model?.close()
                    model = null
                }
                look()
            }

            override fun onNothingSelected(parent: AdapterView<*>?) = Unit
        }
    }

    private fun choosePicture() {
        @Suppress("DEPRECATION") // its successor is in a library of its own
        startActivityForResult(Intent(Intent.ACTION_GET_CONTENT).setType("image/*"), 0)
    }

    @Deprecated("Its successor is in a library of its own.")
    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        val uri = data?.data ?: return
        work {
            picture = requireNotNull(contentResolver.openInputStream(uri)).use(::readPicture)
            look()
        }
    }

    /** Do something beside the screen, and show what goes wrong. */
    private fun work(task: () -> Unit) {
        worker.execute {
            runCatching(task).onFailure { error -> runOnUiThread { said.text = error.message ?: error.toString() } }
        }
    }

    private fun look() {
        val picture = picture ?: return
        val model = model ?: Model(assets, facts).also { this.model = it }
        val pictureTimes = mutableListOf<Double>()
        val modelTimes = mutableListOf<Double>()
        var seen = intArrayOf()
        var outputs = emptyMap<String, DoubleArray>()
        repeat(TIMED_RUNS) {
            val start = System.nanoTime()
            seen = seenColors(colorsOf(picture), picture.width, picture.height)
            val tensor = tensorOf(channelsOf(seen), facts.input)
            val between = System.nanoTime()
            outputs = model.run(tensor)
            pictureTimes += (between - start) / 1e6
            modelTimes += (System.nanoTime() - between) / 1e6
        }
        val times = "picture %.1f ms, model %.2f ms (medians of %d, 1 thread)"
        val head = String.format(Locale.ROOT, times, median(pictureTimes), median(modelTimes), TIMED_RUNS)
        val text = (listOf(head, "") + wordsOf(outputs)).joinToString("\n")
        runOnUiThread {
            seenView.setImageBitmap(Bitmap.createBitmap(seen, WIDTH, HEIGHT, Bitmap.Config.ARGB_8888))
            said.text = text
        }
    }

    private fun wordsOf(outputs: Map<String, DoubleArray>): List<String> {
        if (!HAS_SCORES) return outputs.map { (name, values) -> "$name: ${values.min()} to ${values.max()}" }
        val scores = outputs.getValue(facts.outputs.first().name)
        return scores.indices.sortedByDescending { scores[it] }.take(BEST).map { number ->
            val name = if (HAS_LABELS) labels[number] else "class $number"
            String.format(Locale.ROOT, "%.3f  %s", scores[number], name)
        }
    }
}

private fun median(times: List<Double>): Double = times.sorted()[times.size / 2]
